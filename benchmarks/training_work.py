"""What a probe costs beside a training step of LLaVA-1.5-7B: operations counted, and a processor's rate of each.

    python -m benchmarks.training_work           # a probe of tokens of LLaVA's size, a layer of its decoder; minutes
    python -m benchmarks.training_work --tiny    # shows that it runs

For where there is no card. Products of matrices alone are counted, a multiplication and an addition as two; a step's
attention is left out, so that its work is understated and the ratio overstated. A step of E examples, with tower and
decoder frozen and gradient checkpointing, is

    E * (2 * tower * 577 + 6 * connector * 576 + 6 * decoder * 640)

parameters times tokens: the tower's forward, three times the connector's, and of the decoder the forward, the
backward to its inputs and another forward. A measurement of n pictures, d and m numbers behind and before the
connector, f pictures to fit and choose by, t to test, is

    2 * connector * 576 * n + 2 * (d * d + d * m) * 576 * f + 2 * d * m * 576 * t
    + penalties * (d ** 3 / 3 + 4 * d * d * m)

and 2 * tower * 577 for each picture that passes the tower: 16 where it is frozen, else all. Ratios of operations would
be those of seconds if both were done equally fast. They are not, so a processor's rate of each is measured in its own
seconds, and a measurement's operations are taken to cost that much more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers as hf
from torch import nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

import connector_bench as cb
from benchmarks.findings import Finding, machine, table
from benchmarks.training import EVERY, MOST, PICTURES, TEXT
from connector_bench.reconstruction.probes.ridge import PENALTIES
from connector_bench.training.probe_figures import halves

TOWER, DECODER = 303e6, 6.6e9
"""Parameters of CLIP-L at 336 pixels, and of the 32 layers and the output layer of a LLaMA of 7B."""
BATCH = 16
"""Pictures of which a frozen tower runs again."""


@dataclass(frozen=True)
class Sizes:
    side: int = 24
    before: int = 1024
    behind: int = 4096
    inner: int = 11008
    heads: int = 32
    pictures: int = 40
    examples: int = 1

    @property
    def patches(self) -> int:
        return self.side**2

    @property
    def connector(self) -> int:
        """Weights of the two linear maps."""
        return self.before * self.behind + self.behind**2


def of_a_step(sizes: Sizes, examples: int) -> float:
    """Operations of a training step."""
    tokens = sizes.patches + TEXT
    return examples * (
        2 * TOWER * (sizes.patches + 1) + 6 * sizes.connector * sizes.patches + 6 * DECODER * tokens
    )


def of_a_measurement(sizes: Sizes, pictures: int) -> float:
    """Operations of a measurement behind a frozen tower, without the tower's."""
    d, m = sizes.behind, sizes.before
    use = halves(pictures)
    tested = use.count("test")
    return (
        2 * sizes.connector * sizes.patches * pictures
        + 2 * (d * d + d * m) * sizes.patches * (pictures - tested)
        + 2 * d * m * sizes.patches * tested
        + len(PENALTIES) * (d**3 / 3 + 4 * d * d * m)
    )


def of_the_tower(sizes: Sizes, pictures: int) -> float:
    return 2 * TOWER * (sizes.patches + 1) * pictures


def processor_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measurement_seconds(sizes: Sizes, folder: Path) -> float:
    """A measurement of a connector of these sizes; its tower is one small map, which costs next to nothing."""
    torch.manual_seed(0)
    tower = nn.Linear(8, sizes.before).requires_grad_(False)
    connector = nn.Sequential(
        nn.Linear(sizes.before, sizes.behind), nn.GELU(), nn.Linear(sizes.behind, sizes.behind)
    )
    probe = cb.ConnectorProbe(
        torch.randn(sizes.pictures, sizes.patches, 8),
        (tower, connector),
        every=1,
        grid=(sizes.side, sizes.side),
        folder=folder,
    )
    seconds = processor_seconds(lambda: probe.step(1))
    if "error" in (found := probe.to_pandas()):
        raise RuntimeError(f"nothing was measured: {found['error'].tolist()}")
    return seconds


def layer_seconds(sizes: Sizes) -> tuple[float, float]:
    """A frozen layer of the decoder, forward and backward to its inputs: seconds, and operations by the same count."""
    config = hf.LlamaConfig(
        hidden_size=sizes.behind, intermediate_size=sizes.inner, num_attention_heads=sizes.heads
    )
    config._attn_implementation = "sdpa"
    layer = LlamaDecoderLayer(config, 0).requires_grad_(False)
    tokens = torch.randn(sizes.examples, sizes.patches + TEXT, sizes.behind, requires_grad=True)
    places = LlamaRotaryEmbedding(config)(tokens, torch.arange(tokens.shape[1])[None])

    def step() -> None:
        found = layer(tokens, position_embeddings=places)
        (found[0] if isinstance(found, tuple) else found).sum().backward()

    weights = sum(one.numel() for one in layer.parameters())
    return processor_seconds(step), 4 * weights * tokens.shape[0] * tokens.shape[1]


def measure(sizes: Sizes, folder: Path) -> list[Finding]:
    seconds = measurement_seconds(sizes, folder)
    rate = of_a_measurement(sizes, sizes.pictures) / seconds
    layer, operations = layer_seconds(sizes)
    slower = max(1.0, operations / layer / rate)
    found = [
        Finding(
            f"measurement of {sizes.pictures} pictures",
            seconds,
            "processor s",
            note=f"{rate:.2g} operations/s",
        ),
        Finding(
            f"a decoder layer, {sizes.examples} example",
            layer,
            "processor s",
            note=f"{operations / layer:.2g} operations/s",
        ),
        Finding("the layer's operations a second over the measurement's", operations / layer / rate),
    ]
    own = of_a_measurement(sizes, PICTURES)
    for examples in (16, 256):
        steps = EVERY * of_a_step(sizes, examples)
        for what, passing in (("frozen", BATCH), ("trained", PICTURES)):
            tower = of_the_tower(sizes, passing)
            found.append(
                Finding(
                    f"tower {what}, {examples} examples a step: measurement over {EVERY} steps",
                    (own * slower + tower) / steps,
                    "of 1",
                    MOST,
                    note=f"{(own + tower) / 1e12:.3g} over {EVERY} x {steps / EVERY / 1e12:.3g} tera operations; "
                    f"{MOST:.0%} where they are {(MOST * steps - tower) / own:.0f} times slower",
                )
            )
    return found


def main(arguments: Sequence[str] | None = None) -> list[Finding]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="the tests' sizes")
    options = parser.parse_args(arguments)
    sizes = Sizes(4, 16, 32, 48, 2, 24) if options.tiny else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(sizes, Path(folder))
    print(f"\n{machine().split(';')[0]}; one thread's own seconds\n\n{table(found)}")
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
