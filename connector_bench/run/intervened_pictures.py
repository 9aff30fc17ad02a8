"""What is changed of each picture's tokens: the data looked at once, then a change for every picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.connectors.rewriting import Located, Rewritten
from connector_bench.imported import imported_factory
from connector_bench.interventions import changes
from connector_bench.interventions.intervention import (
    Intervention,
    Mask,
    MaskedCells,
    Noise,
    Permute,
    RankCut,
    Reconstructed,
    Swap,
)
from connector_bench.interventions.token_losses import by_token, under_mask
from connector_bench.interventions.token_statistics import TokenStatistics
from connector_bench.pictures import for_controls
from connector_bench.processes import gather_all, rank_and_size
from connector_bench.progress import lone_bar
from connector_bench.reconstruction.probes.fitted import FittedProbes
from connector_bench.run.earlier_probes import earlier_probes, loss_by_patch, rebuilt_patches
from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PICTURES = 1024
"""Mean, spread and directions of tokens are those of so many pictures at most, drawn by their names."""


Losses = dict[tuple[Path, str], torch.Tensor]


class IntervenedPictures:
    """Changes of the pictures of one task, for one intervention.

    Parameters
    ----------
    adapter : the model's
    intervention : what is asked for
    pictures : by name, what gives each picture that this process will ask about
    losses : tokens' losses by earlier run and picture, which the tasks of a run share
    """

    def __init__(
        self,
        adapter: ConnectorAdapter,
        intervention: Intervention,
        pictures: Mapping[str, Callable[[], Image]],
        losses: Losses,
    ) -> None:
        self._adapter, self._asked, self._pictures, self._losses = adapter, intervention, pictures, losses
        self._latest: tuple[str, Located] | None = None
        if isinstance(intervention, MaskedCells):
            self._mask_of = imported_factory(intervention.mask, "answer mask", "a function of a document")
        if isinstance(intervention, Swap) and len(pictures) < 2:
            raise ValueError(
                f"the tokens of another picture are asked for, and the documents show {len(pictures)} picture"
            )

    @cached_property
    def probes(self) -> FittedProbes | None:
        """Those of the earlier run that the intervention names, None where it names none. ValueError as there."""
        folder = getattr(self._asked, "earlier", None)
        return None if folder is None else earlier_probes(folder, self._adapter.info)

    @cached_property
    def statistics(self) -> TokenStatistics | None:
        """Of the pictures of all processes, where the intervention needs them; asked for on all of them alike."""
        if not self._asked.over_the_data:
            return None
        ranks = gather_all(sorted(self._pictures))
        drawn = for_controls({name for names in ranks for name in names}, MOST_PICTURES)
        first = {name: rank for rank, names in reversed(list(enumerate(ranks))) for name in names}
        mine = sorted(name for name in drawn if first[name] == rank_and_size()[0])
        found: TokenStatistics | None = None
        for name in lone_bar(mine, "Tokens over the data", unit="picture"):
            post = self._located(name, self._pictures[name]()).tokens.post
            found = found or self._empty(post.shape[1])
            found.add(post)
        parts = [part for part in gather_all(found) if part is not None]
        if not parts:
            raise ValueError("no document shows a picture, so that there are no tokens to change")
        total = self._empty(len(parts[0].mean))
        for part in parts:
            total.absorb(part)
        return total

    def _empty(self, width: int) -> TokenStatistics:
        return TokenStatistics(width, directions=isinstance(self._asked, RankCut))

    def rewritten(self, name: str, picture: Image, document: Any) -> Rewritten:
        """What is changed of one picture of a document.

        Raises
        ------
        ValueError
            The intervention needs what this picture, connector or document does not have.
        """
        located = self._located(name, picture)
        if isinstance(self._asked, Reconstructed):
            assert self.probes is not None
            return Rewritten(
                located, before=changes.Replaced(rebuilt_patches(self.probes, self._named(located, name)))
            )
        return Rewritten(located, behind=self._behind(located, name, document))

    def _behind(self, located: Located, name: str, document: Any) -> changes.Change:
        asked, tokens = self._asked, located.tokens
        (layout,) = tokens.layouts
        random = changes.random_of(asked.seed, name)
        if isinstance(asked, Permute):
            return changes.Reordered(changes.random_order(layout.n_post, random), tokens.post)
        if isinstance(asked, Swap):
            return changes.Replaced(changes.stretched(self._other(name).tokens.post, layout.n_post))
        assert self.statistics is not None
        if isinstance(asked, RankCut):
            return changes.Projected(self.statistics.mean, self.statistics.directions_behind(asked.rank))
        if isinstance(asked, Noise):
            drawn = torch.randn(tokens.post.shape, generator=random, dtype=torch.float64)
            return changes.Noisy(drawn * (asked.size * self.statistics.spread))
        if isinstance(asked, MaskedCells):
            hidden = under_mask(layout, self._answer_mask(document))
            return changes.Masked(hidden if asked.where == "inside" else ~hidden, self.statistics.mean)
        assert isinstance(asked, Mask)
        loss = None if asked.earlier is None else self._loss(asked.earlier, located, name)
        order = changes.random_order(layout.n_post, random)
        hidden = changes.hidden_tokens(asked.share, order, loss, falling=asked.order == "falling")
        return changes.Masked(hidden, self.statistics.mean)

    def _loss(self, earlier: Path, located: Located, name: str) -> torch.Tensor:
        if (earlier, name) not in self._losses:
            assert self.probes is not None
            (layout,) = located.tokens.layouts
            by_patch = loss_by_patch(self.probes, self._named(located, name))
            self._losses[earlier, name] = by_token(layout, by_patch)
        return self._losses[earlier, name]

    def _answer_mask(self, document: Any) -> Any:
        mask = self._mask_of(document)
        if mask is None:
            raise ValueError("the document has no answer mask")
        return np.asarray(mask)

    def _located(self, name: str, picture: Image) -> Located:
        """A picture's tokens; several questions about one follow each other."""
        if self._latest is None or self._latest[0] != name:
            self._latest = name, self._adapter.located(picture)
        return self._latest[1]

    @staticmethod
    def _named(located: Located, name: str) -> TokenBatch:
        """Its tokens under the picture's name, by which probes know what they were fitted on."""
        return replace(located.tokens, images=(name,))

    def _other(self, name: str) -> Located:
        """Another picture: the next by name of those with as many tokens, of all where none has."""
        names = sorted(self._pictures)
        place = names.index(name)
        rest = [*names[place + 1 :], *names[:place]]
        same = [one for one in rest if self._counts[one] == self._counts[name]]
        other = (same or rest)[0]
        return self._adapter.located(self._pictures[other]())

    @cached_property
    def _counts(self) -> dict[str, int]:
        """Number of each picture's tokens."""
        listed = lone_bar(sorted(self._pictures), "Tokens of the pictures", unit="picture")
        return {name: len(self._adapter.located(self._pictures[name]()).tokens.post) for name in listed}
