"""What capture costs beside the bare vision tower and connector, and whether its memory stays flat.

    python -m benchmarks.capture --pictures 5000

On the CPU with random weights: a CLIP ViT-B/14 under LLaVA's connector, and a tower of 12 layers and width 512
under Qwen2.5-VL's, whose connectors are as large beside their towers as in the released models. *Bare* is the
processor, `get_image_features` under inference mode and nothing else, in the same batches; all see the same
pictures, in turns. The tasks add three untrained copies of the connector as controls. Their forward passes are
a cost of the control, not of capture; the note says how large they are. Memory is that of the process while
streams of tiny models run, with the copies.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL.Image import Image
from torch import nn
from tqdm import tqdm

from benchmarks.findings import Finding, machine, now, table
from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.capture import stream
from connector_bench.connectors.coloured import coloured_picture
from connector_bench.connectors.modules import find
from connector_bench.connectors.transformers_adapter import get_image_features
from connector_bench.connectors.untrained import untrained_copy
from tests import tiny_vlms

BATCH, ROUNDS, SEEDS = 4, 9, (0, 1, 2)
ALLOWED, GROWTH_MIB = 1.10, 4.0


def llava() -> tuple[Any, Any]:
    vision = hf.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=14
    )
    text = hf.LlamaConfig(**tiny_vlms.decoder(hidden_size=2048))
    config = hf.LlavaConfig(vision_config=vision, text_config=text)
    return hf.LlavaForConditionalGeneration(config).eval(), hf.CLIPImageProcessor()


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {"depth": 12, "hidden_size": 512, "intermediate_size": 1536, "out_hidden_size": 1024}
    text = tiny_vlms.decoder(
        hidden_size=1024, rope_parameters={"rope_type": "default", "mrope_section": [32, 48, 48]}
    )
    config = hf.Qwen2_5_VLConfig(vision_config={**vision, "num_heads": 8}, text_config=text)
    return hf.Qwen2_5_VLForConditionalGeneration(config).eval(), hf.Qwen2VLImageProcessor()


def seconds(work: Callable[[], object]) -> float:
    start = now()
    work()
    return now() - start


@contextmanager
def run_too(copies: Sequence[nn.Module], module: nn.Module) -> Iterator[None]:
    """Copies run on all that the module is given, and their outputs are dropped."""

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        for copy in copies:
            copy(*args, **kwargs)

    handle = module.register_forward_hook(after, with_kwargs=True)
    yield
    handle.remove()


def cost(build: Callable[[], tuple[Any, Any]]) -> list[Finding]:
    """Capture's time over the bare run's, without and with untrained copies: medians of rounds."""
    model, processor = build()
    plain, copying = adapter_for_model(model, processor), adapter_for_model(model, processor)
    copying.add_untrained(SEEDS)
    pictures = [coloured_picture(224, 224, seed) for seed in range(BATCH)]
    connector = find(model, plain.info.modules[0])
    copies = [untrained_copy(connector, seed) for seed in SEEDS]

    def bare() -> None:
        inputs = processor(images=pictures, return_tensors="pt")
        with torch.inference_mode():
            get_image_features(model, inputs)

    def bare_with_copies() -> None:
        with run_too(copies, connector):
            bare()

    works = (bare, lambda: plain.capture(pictures), bare_with_copies, lambda: copying.capture(pictures))
    for work in works:
        work()
    rounds = [[seconds(work) for work in works] for _ in tqdm(range(ROUNDS), desc=build.__name__)]
    ratio = [statistics.median(times[i] / times[0] for times in rounds) for i in range(len(works))]
    name = f"capture, {build.__name__}: time over the bare run"
    return [
        Finding(name, ratio[1], most=ALLOWED),
        Finding(
            f"{name}, with three untrained copies",
            ratio[3],
            most=ALLOWED,
            note=f"{ratio[2]:.2f} x without capture: the copies' own forward passes",
        ),
    ]


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def pictures(count: int) -> Iterator[tuple[str, Image]]:
    sizes = ((112, 112), (112, 80), (70, 140))
    for number in tqdm(range(count), desc="memory", unit="picture"):
        yield str(number), coloured_picture(*sizes[number % 3], number)


def memory(name: str, count: int) -> Finding:
    """Growth of resident memory from the first tenth of a stream of pictures of unequal size to its end."""
    adapter = adapter_for_model(*tiny_vlms.make(name))
    assert adapter.add_untrained(SEEDS) is None
    seen = []
    names = (name for batch in stream(adapter, pictures(count), batch_size=8) for name in batch.images)
    for number, _ in enumerate(names, start=1):
        if number % (count // 10) == 0:
            seen.append(resident_mib())
    return Finding(
        f"capture, tiny {name}, three untrained copies: growth of memory over {count} pictures",
        max(seen) - seen[0],
        unit="MiB",
        most=GROWTH_MIB,
        note=f"resident: {seen[0]:.0f} MiB after a tenth, {seen[-1]:.0f} MiB at the end",
    )


def run(count: int = 5000) -> list[Finding]:
    costs = [finding for build in (llava, qwen2_5_vl) for finding in cost(build)]
    return costs + [memory(name, count) for name in ("llava", "qwen2_5_vl")]


def run_quick() -> list[Finding]:
    return [memory(name, 20) for name in ("llava", "qwen2_5_vl")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=5000, help="pictures of the memory run")
    print(machine())
    print(table(run(parser.parse_args().pictures)))


if __name__ == "__main__":
    main()
