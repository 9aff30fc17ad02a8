"""What a trainer is told that takes a probe, or the other trainer's callback, for a callback of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING


class NoCallback:
    """Names the callbacks that there are to whoever asks for a method that is not here; trainers ask for many."""

    if not TYPE_CHECKING:  # mypy would believe in every attribute

        def __getattr__(self, name):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: transformers.Trainer takes "
                "callbacks=[probe.for_trainer()], Lightning callbacks=[probe.for_lightning()]",
                name=name,
                obj=self,
            )
