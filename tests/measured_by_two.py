"""Run by torchrun: every process makes the same calls from Python, and says what it got."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import connector_bench as cb

dist.init_process_group("gloo")
torch.manual_seed(0)
PATCHES, CONNECTOR = torch.nn.Conv2d(3, 16, 8, 8).eval(), torch.nn.Linear(16, 8).eval()
PICTURES = [np.random.default_rng(n).integers(0, 255, (32, 32, 3), np.uint8) for n in range(24)]


def pixels(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) / 255 for one in pictures])


result = cb.measure(
    (lambda given: PATCHES(given).flatten(2).transpose(1, 2), CONNECTOR),
    PICTURES,
    pixels,
    grid=(4, 4),
    options=cb.PreservationOptions(ks=(1, 5)),
    probes=cb.ReconstructionConfig(patch_pairs=400, validation_pairs=200, mlp_width=8, curve=False),
)
maps = [None if one is None else one.loss.tolist() for one in result.loss_maps]
said = {
    "figures": {part.measure: part.figures for part in result.parts},
    "maps": maps,
    "images": result.images,
}
(Path(sys.argv[1]) / f"{dist.get_rank()}.json").write_text(json.dumps(said))
dist.destroy_process_group()
