"""A process that loads tower and connector of a checkpoint under a limit, and prints by how much its memory grew."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import torch

from connector_bench.connectors.alone import load_alone
from connector_bench.connectors.coloured import coloured_picture


def status(name: str) -> int:
    """A figure of this process in bytes, as the kernel tells it."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":")
    )
    return int(line.split()[1]) * 1024


def main(small: str, *cases: str) -> None:
    """Every case is `FOLDER DTYPE ALLOWED`. `small` is loaded first, so that what is imported on the way is there."""
    torch.set_num_threads(1)
    load_alone(small)
    for large, dtype, allowed in (case.rsplit(maxsplit=2) for case in cases):
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        limit = status("VmData") + int(allowed)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        adapter = load_alone(large, dtype=dtype)
        (pair,) = adapter.capture([coloured_picture(224, 224)])
        loaded = sum(p.numel() * p.element_size() for p in adapter.model.parameters())  # type: ignore[attr-defined]
        grew = status("VmHWM") - before
        print(json.dumps({"grew": grew, "loaded": loaded, "tokens": list(pair.post.shape)}))
        del adapter, pair


if __name__ == "__main__":
    main(*sys.argv[1:])
