"""A process that loads tower and connector of a checkpoint under a limit, and prints by how much its memory grew."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor

from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.coloured import coloured_picture


def status(name: str) -> int:
    """A figure of this process in bytes, as the kernel tells it."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":")
    )
    return int(line.split()[1]) * 1024


def main(*cases: str) -> None:
    """Every case is `SMALL|LARGE|DTYPE|ALLOWED`. Small ones come first: what is imported on the way is there."""
    torch.set_num_threads(1)
    split = [case.split("|") for case in cases]
    for small in dict.fromkeys(case[0] for case in split):
        run(small, "auto")
    for _, large, dtype, allowed in split:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what others left behind would hide a part of the growth
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        limit = status("VmData") + int(allowed)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        said = run(large, dtype)
        print(json.dumps({"grew": status("VmHWM") - before, **said}))


def run(checkpoint: str, dtype: str) -> dict[str, Any]:
    """Bytes of what is loaded, and the sizes of a picture's tokens."""
    images = AutoImageProcessor.from_pretrained(checkpoint)
    try:
        adapter = load_alone(checkpoint, dtype=dtype)
    except ValueError as error:
        if "processor cannot be loaded" not in str(error):
            raise
        adapter = load_alone(checkpoint, dtype=dtype, processor=images)  # saved without a tokenizer
    (pair,) = adapter.capture([coloured_picture(224, 224)])
    loaded = sum(p.numel() * p.element_size() for p in adapter.model.parameters())  # type: ignore[attr-defined]
    return {"loaded": loaded, "tokens": list(pair.post.shape)}


if __name__ == "__main__":
    main(*sys.argv[1:])
