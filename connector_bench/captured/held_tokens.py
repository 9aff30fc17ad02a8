"""Tokens of pictures in memory, and of several captures together: what stands for a model beside a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from connector_bench.captured.replayed import TokenSource
from connector_bench.captured.token_files import end_to_end
from connector_bench.captured.written import Manifest
from connector_bench.types import TokenBatch


@dataclass(frozen=True, eq=False)
class HeldTokens:
    """Tokens by picture, on the CPU, in the model's precision."""

    manifest: Manifest
    of_picture: Mapping[str, TokenBatch]
    """A batch of one for each."""
    device: str = "cpu"
    own_change: Mapping[str, object] | None = field(default=None)

    def tokens(self, images: Sequence[str], untrained: bool = True) -> TokenBatch:
        """These pictures as one batch. ValueError where one is not among them."""
        if unknown := [image for image in images if image not in self.of_picture]:
            raise ValueError(
                f"picture {unknown[0][:12]} is not among the {len(self.of_picture)} that were captured"
            )
        batch = end_to_end([self.of_picture[image] for image in images])
        return batch if untrained else replace(batch, untrained=())

    def __contains__(self, image: object) -> bool:
        return image in self.of_picture


@dataclass(frozen=True, eq=False)
class SeveralSources:
    """Sources of one connector as one.

    Raises:
        ValueError: they are of two connectors.
    """

    sources: tuple[TokenSource, ...]

    def __post_init__(self) -> None:
        first, *others = (source.manifest for source in self.sources)
        for other in others:
            for name, value in other.connector.model_dump().items():
                if value != getattr(first.connector, name):
                    raise ValueError(
                        f"these tokens are of two connectors: {name} is {getattr(first.connector, name)!s:.80} and "
                        f"{value!s:.80}"
                    )

    @property
    def manifest(self) -> Manifest:
        """The first one's; untrained copies count where all have kept them."""
        first = self.sources[0].manifest
        alike = all(one.manifest.untrained_seeds == first.untrained_seeds for one in self.sources)
        return first if alike else first.model_copy(update={"untrained_seeds": []})

    @property
    def device(self) -> str:
        """Where tokens are put."""
        return self.sources[0].device

    @property
    def own_change(self) -> Mapping[str, object] | None:
        """What precision alone changes, where the first one says so."""
        return self.sources[0].own_change

    def tokens(self, images: Sequence[str], untrained: bool = True) -> TokenBatch:
        """These pictures as one batch, each from the first source that has it."""
        wanted = untrained and bool(self.manifest.untrained_seeds)
        return end_to_end([self._source_of(image).tokens([image], wanted) for image in images])

    def _source_of(self, image: str) -> TokenSource:
        return next((source for source in self.sources if image in source), self.sources[0])

    def __contains__(self, image: object) -> bool:
        return any(image in source for source in self.sources)
