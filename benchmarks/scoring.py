"""Time of scoring test pictures, by `python -m benchmarks.scoring [DEVICE]`: LLaVA-1.5-7B's sizes, synthetic probes."""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from connector_bench.reconstruction import measured
from connector_bench.reconstruction.config import ReconstructionConfig
from connector_bench.reconstruction.folds import Ledger
from connector_bench.reconstruction.learning import ProbeLadder, ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.reconstruction.probes.cell_fit import CellProbes
from connector_bench.reconstruction.probes.control_fit import PAIRINGS
from connector_bench.reconstruction.probes.fitted import FittedProbes, LearningCurve
from connector_bench.reconstruction.probes.fitted_controls import ControlProbes
from connector_bench.reconstruction.probes.linear import LinearProbe
from connector_bench.reconstruction.probes.mlp import MLPProbe, MLPShape
from connector_bench.reconstruction.probes.moments import TargetStatistics
from connector_bench.reconstruction.probes.ridge import Affine, RidgeFit
from connector_bench.reconstruction.probes.training_loop import TrainingRecord
from connector_bench.types import Tile, TokenBatch, TokenLayout

ONE = (1, 1)
UNTRAINED = 3


def synthetic_ladder(d_pre: int, d_post: int, device: str) -> ProbeLadder:
    """Probes and controls of random weights, as they would be for a connector that keeps every patch's place."""

    def affine(d: int) -> Affine:
        return Affine(torch.randn(d, d_pre).double() / d**0.5, torch.zeros(d_pre).double())

    def mlp(d: int) -> MLPProbe:
        return MLPProbe(MLPShape(d, d_pre, 512, 3, True, d)).eval()

    config = ReconstructionConfig(device=device)
    record = TrainingRecord.__new__(TrainingRecord)
    probes = CellProbes(ONE, RidgeFit(affine(d_post), 1.0, {}), mlp(d_post), record, ())
    curve = LearningCurve((1.0,), (1,), {}, "mlp", None)
    spread = TargetStatistics(1, torch.zeros(d_pre).double(), torch.ones(d_pre).double())
    widths = {"identity": d_pre, "rotation": d_pre, "rank8": 8}
    widths |= {f"untrained.{seed}": d_post for seed in range(UNTRAINED)}
    widths |= {f"shuffled.{number}": d_post for number in range(PAIRINGS)}
    linear = {name: LinearProbe({ONE: affine(d)}) for name, d in widths.items()}
    trained = {"identity": d_pre, "rotation": d_pre, "shuffled": d_post}
    networks = {f"{name}.1x1": mlp(d) for name, d in trained.items()}
    return ProbeLadder(
        FittedProbes(config, spread, Ledger(), {ONE: probes}, None, curve),
        ControlProbes(config, spread.mean, linear, networks, {}),
    )


def milliseconds(
    device: str, controlled: int, images: int = 640, side: int = 24, d_pre: int = 1024, d_post: int = 4096
) -> float:
    """Milliseconds an image, in batches of 32, of which so many images have controls."""
    measured.CONTROL_TEST_IMAGES = max(controlled, 1)
    layout = TokenLayout((Tile((side, side), (side, side)),), side * side)

    def tokens(width: int) -> Tensor:
        return torch.randn(32 * layout.n_pre, width, device=device, dtype=torch.bfloat16)

    pre, post = tokens(d_pre), tokens(d_post)
    untrained = tuple(tokens(d_post) for _ in range(UNTRAINED))
    learner = ProbeLearner(ReconstructionConfig(device=device))
    learner.ladder = synthetic_ladder(d_pre, d_post, device)
    measure = MeasuredReconstruction(learner, picture_of=lambda _: None)  # type: ignore[return-value]
    names = [f"image {number}" for number in range(images + 32)]
    measure.begin({name: [number] for number, name in enumerate(names)})
    names.sort(key=measure.wants_untrained, reverse=True)  # as the pass hands them out
    begun = 0.0
    for first in range(0, len(names), 32):
        if first == 32:  # the first batch moves probes and warms up
            measure._take_in()
            begun = time.perf_counter()
        own = tuple(names[first : first + 32])
        copies = untrained if any(map(measure.wants_untrained, own)) else ()
        measure.update(TokenBatch(own, (layout,) * len(own), pre, post, None, copies))
    measure._take_in()
    return (time.perf_counter() - begun) / images * 1e3


def main() -> None:
    """Print milliseconds an image for all, a fifth and next to none of the images with controls."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    images = 640 if device != "cpu" else 32
    for share in (1.0, 0.2, 0.0):
        found = milliseconds(device, round(share * (images + 32)), images)
        print(f"{device}, controls on {share:.0%} of the images: {found:.2f} ms an image", flush=True)
    if device != "cpu":
        print(f"{torch.cuda.get_device_name()}, at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
