"""A small run that is told to die: `python -m tests.reconstruction.killed_run FOLDER DIE_AT`."""

import json
import os
import signal
import sys
from pathlib import Path

from PIL import Image

from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.types import TokenBatch

from .planted import images, small_config


def main(folder: Path, die_at: int) -> dict:
    """The figures, and how many images had to be captured; dies at the capture of number `die_at`."""
    fingerprint = {"model": "identity", "options": small_config(curve=True).as_json()}
    learner = ProbeLearner(small_config(curve=True), folder=folder, fingerprint=fingerprint, every=16)
    measure = MeasuredReconstruction(
        learner,
        picture_of=lambda _: Image.new("RGB", (8, 8)),
        folder=folder,
        fingerprint=fingerprint,
        every=8,
    )
    captured = 0

    def capture(pair):
        nonlocal captured
        captured += 1
        if captured == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return pair

    training, test = dict(images(80)), dict(images(30, start=10_000))
    learner.begin(training, test)
    for name, pair in training.items():
        if learner.wants(name):
            learner.learn(TokenBatch.of([name], [capture(pair)]))
    learner.fit()
    measure.begin({name: [number] for number, name in enumerate(test)})
    for name, pair in test.items():
        if measure.wants(name):
            measure.update(TokenBatch.of([name], [capture(pair)]))
    figures = measure.finish()
    scores = figures.summary["scores"]
    return {
        "figures": {name: [score["value"], score["low"], score["high"]] for name, score in scores.items()},
        "rows": figures.per_image,
        "captured": captured,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
