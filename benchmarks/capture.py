"""What capture costs beside the bare vision tower and connector, and whether its memory stays flat.

`python -m benchmarks.capture [--pictures N]` runs on the CPU with random weights: a CLIP ViT-B/14 under
LLaVA's connector, and a tower of 12 layers and width 512 under Qwen2.5-VL's. *Bare* is the processor,
`get_image_features` under inference mode and nothing else, in the same batches; both sides see the same
pictures, in turns. Memory is that of the process while one stream of tiny LLaVA and one of tiny
Qwen2.5-VL runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL.Image import Image

from connector_bench.capture import stream
from connector_bench.connectors import adapter_for_model
from connector_bench.connectors.planted import coloured_picture
from connector_bench.connectors.transformers_adapter import get_image_features
from tests import tiny_vlms

BATCH, ROUNDS = 4, 9
ALLOWED = 1.10


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
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost(build: Callable[[], tuple[Any, Any]]) -> tuple[float, float, float]:
    """Median seconds a picture, bare and captured, and the median of their ratio over rounds."""
    model, processor = build()
    adapter = adapter_for_model(model, processor)
    pictures = [coloured_picture(224, 224, seed) for seed in range(BATCH)]

    def bare() -> None:
        inputs = processor(images=pictures, return_tensors="pt")
        with torch.inference_mode():
            get_image_features(model, inputs)

    bare()
    adapter.capture(pictures)
    rounds = [(seconds(bare), seconds(lambda: adapter.capture(pictures))) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / plain for plain, ours in rounds)
    plain, ours = (statistics.median(times) / BATCH for times in zip(*rounds, strict=True))
    return plain, ours, ratio


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def pictures(count: int) -> Iterator[tuple[str, Image]]:
    sizes = ((112, 112), (112, 80), (70, 140))
    for number in range(count):
        yield str(number), coloured_picture(*sizes[number % 3], number)


def memory(name: str, count: int) -> list[tuple[int, float]]:
    """Resident MiB at ten points of one stream of pictures of unequal size."""
    adapter = adapter_for_model(*tiny_vlms.make(name))
    seen = []
    for number, _ in enumerate(stream(adapter, pictures(count), batch_size=8), start=1):
        if number % (count // 10) == 0:
            seen.append((number, resident_mib()))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000, help="pictures of the memory run")
    count = parser.parse_args().pictures
    print("cost: seconds a picture")
    for build in (llava, qwen2_5_vl):
        plain, ours, ratio = cost(build)
        verdict = "ok" if ratio <= ALLOWED else f"over {ALLOWED}"
        print(f"  {build.__name__:12} bare {plain:.4f}  captured {ours:.4f}  ratio {ratio:.3f}  {verdict}")
    print(f"memory: resident MiB over {count} pictures")
    for name in ("llava", "qwen2_5_vl"):
        seen = memory(name, count)
        growth = seen[-1][1] - seen[0][1]
        print(
            f"  {name:12} "
            + " ".join(f"{number}:{mib:.0f}" for number, mib in seen)
            + f"  growth {growth:+.1f}"
        )


if __name__ == "__main__":
    main()
