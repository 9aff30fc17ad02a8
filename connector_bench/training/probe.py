"""`ConnectorProbe`: what a connector keeps of fixed pictures, measured every so many steps of its training."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.atomic_files import write_atomically
from connector_bench.connectors.execution import input_device, unwrapped
from connector_bench.connectors.registry import adapter_for_model, family_of, processor_feed, special_for
from connector_bench.connectors.stated_grid import GivenGrid, StatedGrid
from connector_bench.connectors.wrappers import name_of
from connector_bench.pictures import reason
from connector_bench.preservation.overlap import allowed_ks
from connector_bench.processes import rank_and_size
from connector_bench.reconstruction.scores import summary_json
from connector_bench.training.connector_in_training import ConnectorInTraining
from connector_bench.training.curve_folder import PICTURE, CurveFolder, as_table, flat, read_lines
from connector_bench.training.no_callback import NoCallback
from connector_bench.training.probe_figures import moment
from connector_bench.training.probe_set import ProbeSet
from connector_bench.training.refused import require_count, require_folder, require_model
from connector_bench.training.tokens_of_probe import ProbeTokens, TokensOfModel, TokensOfPair, module_behind
from connector_bench.training.trackers import Trackers
from connector_bench.training.undisturbed import undisturbed

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 8
"""Pictures below which no half could be fitted, chosen on and tested."""


class ConnectorProbe(NoCallback):
    """Overlap of neighbours, linear R2 and `lost` of a connector on fixed pictures, along its training.

    >>> import torch, connector_bench as cb
    >>> encoder, connector = torch.nn.Linear(12, 10), torch.nn.Linear(10, 10)
    >>> images = torch.randn(64, 16, 12)  # whatever the encoder takes, one row an image
    >>> probe = cb.ConnectorProbe(images, (encoder, connector), every=2, folder="connector_probe")
    >>> for step in range(1, 6):  # forward, backward and the optimiser's step come here
    ...     probe.step(step)
    >>> probe.finish().name
    'curve.png'
    >>> probe.to_pandas()[["knor_10", "knor_10_first", "r2_ridge", "lost"]].shape
    (4, 4)

    With `transformers.Trainer` it is one argument, `callbacks=[probe.for_trainer()]`; with Lightning
    `callbacks=[probe.for_lightning()]`. Each measurement is a line of `curve.jsonl` in the folder, and goes to
    TensorBoard (where it is installed) and to the wandb run that is active. Training is bit for bit what it is without:
    see `undisturbed`. Nothing that fails here ends it: the first failure is a warning, and each is noted in the file.
    In several processes the first alone measures, without any exchange, and the others wait where they next meet it.

    Args:
        images: 256 to 512 pictures (PIL, arrays, uint8 tensors `[3, rows, columns]`, paths, or a folder) for a
            transformers model; for a bare pair a tensor, or tensors, `[n, ...]` of what the encoder takes. Equal ones
            count once. Half are for testing.
        model: a transformers model, a model of the zoo, or `(encoder, connector)`: two modules (or a module's method),
            of which the first gives tokens `[batch, n, d]` and the second takes them. Compiled, DDP and PEFT wrappers
            are looked through. None where a trainer's callback hands it over.
        processor: processor or image processor of a transformers model; None where the trainer has it.
        every: steps from one measurement to the next.
        folder: where the curve lies. A run that goes on from a checkpoint goes on with the curve that it finds there.
        grid: rows and columns of the encoder's tokens, for a bare pair, or both sides' as for `capture` where the
            connector merges tokens; without it tokens have a place only where as many leave the connector as enter it.
        ks: neighbourhood sizes; those that need more pictures are left out with a warning.
        batch_size: images that pass together.

    Raises:
        ValueError: fewer than 8 different images, no k that they allow, `every` below 1, a grid that is none, a model
            whose connector is not found, or a file where the folder should be.
        TypeError: images, a model or an encoder of another kind.
    """

    def __init__(
        self,
        images: Iterable[Any],
        model: Any = None,
        *,
        processor: Any = None,
        every: int = 500,
        folder: str | Path = "connector_probe",
        grid: GivenGrid = None,
        ks: Sequence[int] = (10,),
        batch_size: int = 16,
    ) -> None:
        require_count("every", every)
        require_count("batch_size", batch_size)
        self.every, self.folder = every, Path(folder).expanduser()
        self._given = self._model, self._processor = model, processor
        self._grid = grid
        self._bare = require_model(model)
        StatedGrid.of(grid)
        require_folder(self.folder)
        gather = ProbeSet.of_tensors if self._bare else ProbeSet.of_pictures
        self._set = gather(images, batch_size)
        n = len(self._set)
        self._ks = allowed_ks(ks, n)
        if n < FEWEST:
            raise ValueError(f"{n} different images: at least {FEWEST} are needed")
        if len(self._ks) < len(ks):
            warnings.warn(f"k above {n - 2} is left out: there are {n} images", stacklevel=2)
        self._curve = CurveFolder(self.folder)
        self._tokens: ProbeTokens | None = None
        self._trackers: Trackers | None = None
        self._step: int | None = None
        self._measured: int | None = None
        self._warned = False
        self._since = time.perf_counter()

    def attach(self, model: Any, processor: Any = None) -> None:
        """Take a trainer's model and processor where none was given; another trainer's later, or a new model of it."""
        if self._given[0] is None and model is not self._model:
            self._model, self._tokens = model, None
        if self._given[1] is None and processor is not self._processor:
            self._processor, self._tokens = processor, None

    def begin(self, step: int = 0) -> None:
        """Before the first step, or where training goes on after `step`; `step` does it where this was not called.

        Where it goes on, so does a curve in the folder that reaches back to here, without its later lines. Any other
        is moved aside, and the connector as it now is becomes the first step that later ones are compared with.
        """
        if rank_and_size()[0] == 0:
            self._safely(step, lambda: self._begin(int(step)))

    def step(self, step: int) -> None:
        """After an optimiser step: measures where `step` is a multiple of `every`, and the first time.

        A number that was measured is not measured again, so that with gradient accumulation it may be called after
        each backward pass. A number below the last one means that training went back to it.
        """
        if rank_and_size()[0] != 0:
            return
        step = int(step)
        if self._step is None or step < self._step:
            self._safely(step, lambda: self._begin(step - 1, measure=False))
        self._step = step
        if step != self._measured and (self._measured is None or step % self.every == 0):
            self._safely(step, lambda: self._measure(step))

    def finish(self) -> Path:
        """Measure the last step, unless it was, and draw the curve, if there is one; the picture's path."""
        path = self.folder / PICTURE
        step = self._step
        if rank_and_size()[0] == 0 and step is not None:
            if step != self._measured:
                self._safely(step, lambda: self._measure(step))
            if self._trackers is not None:
                self._safely(step, self._trackers.close)
                self._trackers = None
            if not all("error" in line for line in self._curve.lines):
                self._safely(step, lambda: self.plot(path))
        return path

    def plot(self, path: str | Path | None = None) -> Path:
        """The curve with its intervals as a PNG, in the folder unless a path is given. ValueError without a line."""
        from connector_bench.training.curve_picture import TrainingCurve

        target = self.folder / PICTURE if path is None else Path(path).expanduser()
        write_atomically(target, TrainingCurve(read_lines(self._curve.file)).chart().png())
        return target

    def to_pandas(self) -> pd.DataFrame:
        """One row a step: `knor_10`, `r2_ridge` ..., interval ends as `..._low` and `..._high`, seconds it took."""
        return as_table(read_lines(self._curve.file))

    def for_trainer(self) -> Any:
        """The probe as a `transformers.TrainerCallback`; model and processor are the trainer's unless given.

        >>> import numpy as np, connector_bench as cb
        >>> pictures = np.random.default_rng(0).integers(0, 255, (12, 56, 56, 3), dtype=np.uint8)
        >>> probe = cb.ConnectorProbe(pictures)
        >>> type(probe.for_trainer()).__name__  # Trainer(..., callbacks=[probe.for_trainer()])
        'ProbeOfTrainer'
        """
        from connector_bench.training.trainer_callback import ProbeOfTrainer

        return ProbeOfTrainer(self)

    def for_lightning(self) -> Any:
        """The probe as a callback of Lightning, `Trainer(callbacks=[probe.for_lightning()])`; it needs its model.

        Raises:
            ImportError: no Lightning is installed.
            ValueError: the probe was given no model, which a LightningModule may hold anywhere.
        """
        from connector_bench.training.lightning_callback import probe_of_lightning

        if self._model is None:
            raise ValueError(
                "name what is measured: ConnectorProbe(images, (module.encoder, module.connector))"
            )
        return probe_of_lightning(self)

    def _begin(self, step: int, measure: bool = True) -> None:
        self._step, self._measured = step, None
        aside = self._curve.go_on_after(step, self._set.fingerprint)
        if self._trackers is not None:
            self._trackers.close()
        self._trackers = Trackers(self.folder, step)
        self._since = time.perf_counter()
        if self._curve.lines:
            self._measured = self._curve.lines[-1]["step"]
        elif measure:
            self._measure(step)
        if aside is not None:
            said = f"{self.folder} held the curve of another run, which is now in {self.folder / aside}"
            self._warn(said)

    def _measure(self, step: int) -> None:
        self._measured = step
        _wait(self._modules)
        began = time.perf_counter()
        with undisturbed(self._modules):
            if self._tokens is None:
                self._tokens = self._tokens_of_model()
            found = moment(self._tokens, self._set.use, self._ks, self._curve.first)
        if self._curve.first is None:
            self._curve.keep_first(step, self._set.fingerprint, found.post)
        ended = time.perf_counter()
        line = {
            "step": step,
            **summary_json(found.scores),
            "seconds": round(ended - began, 4),
            "training_seconds": round(began - self._since, 4),
        }
        self._since = ended
        self._curve.add(line)
        if self._trackers is not None:
            self._trackers.log(step, {name: value for name, value in flat(line).items() if value is not None})

    @property
    def _modules(self) -> list[Any]:
        if self._model is None:
            raise ValueError("the probe was given no model: ConnectorProbe(images, model)")
        if self._bare:
            return [module_behind(self._model[0]), self._model[1]]
        return [self._model] if hasattr(self._model, "modules") else []

    def _tokens_of_model(self) -> ProbeTokens:
        if self._bare:
            encoder, connector = self._model
            return TokensOfPair(encoder, connector, self._set.images, self._set.groups, self._grid)
        if special_for(self._model) is not None:
            adapter = adapter_for_model(self._model, self._processor)
        else:
            inner = unwrapped(self._model)
            family = family_of(inner)
            feed = processor_feed(self._processor, family)
            adapter = ConnectorInTraining(self._model, family, feed, name_of(None, inner))
        return TokensOfModel(adapter, self._set.images, self._set.groups)

    def _safely(self, step: int, work: Callable[[], Any]) -> None:
        """Nothing that goes wrong here ends training."""
        try:
            work()
        except Exception as error:  # models, processors, disks and trackers raise whatever they like
            why = reason(error)
            noted = "noted nowhere"
            with suppress(OSError):
                self._curve.add({"step": step, "error": why})
                noted = f"noted in {self._curve.file} alone"
            if not self._warned:
                self._warned = True
                self._warn(
                    f"step {step} was not measured, and training goes on: {why.rstrip('.')}. Further failures are "
                    f"{noted}"
                )

    def _warn(self, said: str) -> None:
        try:
            warnings.warn(f"ConnectorProbe: {said}", stacklevel=2)
        except Warning:  # where warnings are made errors
            sys.stderr.write(f"ConnectorProbe: {said}\n")


def _wait(modules: Sequence[Any]) -> None:
    """For a card's training steps, which are none of the measurement's time."""
    import torch

    for module in modules:
        if input_device(unwrapped(module)).type == "cuda":
            torch.cuda.synchronize()
