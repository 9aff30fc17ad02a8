"""`Tokens`: what enters and what leaves a connector for some pictures, in memory or on the disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from connector_bench.api.spoken import require_name
from connector_bench.api.vectors import per_image
from connector_bench.atomic_files import make_folder
from connector_bench.captured.held_tokens import HeldTokens
from connector_bench.captured.replayed import CapturedTokens, TokenSource
from connector_bench.captured.token_files import TokenFileWriter, token_files
from connector_bench.captured.written import (
    MANIFEST,
    CapturedDocument,
    manifest_of,
    write_documents,
    write_manifest,
)
from connector_bench.connectors.stated_grid import GivenGrid, StatedGrid
from connector_bench.pictures import PictureFacts
from connector_bench.protocol import PLACES_NOT_KNOWN
from connector_bench.run.documents import Document, NoPicture
from connector_bench.types import ConnectorInfo, TokenBatch, TokenLayout, TokenPair

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Tokens:
    """Tokens of pictures before and after a connector, with their layouts.

    >>> import torch, connector_bench as cb
    >>> pre = torch.randn(6, 16, 8)
    >>> tokens = cb.Tokens.of(pre, pre @ torch.randn(8, 4), grid=(4, 4))
    >>> tokens
    Tokens(6 pictures, 16 x 8 before, 16 x 4 after, grid 4 x 4)
    >>> tokens.post[0].shape
    torch.Size([16, 4])

    It is iterable, one `TokenPair` a picture in the order in which pictures were given, duplicates included; pictures
    without tokens stand in `left_out`. `save` and `load` write and read the format of `connector-bench capture`, so
    that `connector-bench measure` and the tasks `..._captured` take the folder.
    """

    source: TokenSource
    documents: tuple[CapturedDocument, ...]
    """Every picture that was given, in order."""
    folder: str = ""
    """Where the pictures lay."""
    warned: set[str] = field(default_factory=set)
    """What has been said of these tokens, and is not said again."""

    @property
    def connector(self) -> ConnectorInfo:
        """What is known of the connector."""
        return self.source.manifest.connector.info()

    @property
    def left_out(self) -> dict[int, str]:
        """Why pictures have no tokens, by their number."""
        return {
            number: one.unreadable or "it was not captured"
            for number, one in enumerate(self.documents)
            if one.image is None or one.unreadable is not None
        }

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the pictures that have tokens, among those that were given."""
        return tuple(number for number in range(len(self.documents)) if number not in self.left_out)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the pictures that have tokens, in order."""
        return tuple(str(self.documents[number].image) for number in self.numbers)

    @property
    def pre(self) -> list[Tensor]:
        """Tokens before the connector, `[n, width]` a picture, in the model's precision, on the CPU."""
        return [batch.pre for batch in self._batches()]

    @property
    def post(self) -> list[Tensor]:
        """Tokens after the connector, `[n, width]` a picture."""
        return [batch.post for batch in self._batches()]

    @property
    def layouts(self) -> list[TokenLayout]:
        """Where each picture's tokens lie."""
        return [batch.layouts[0] for batch in self._batches()]

    def _batches(self) -> Iterator[TokenBatch]:
        return (self.source.tokens([image], False) for image in self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[TokenPair]:
        for image in self.images:
            yield self.source.tokens([image]).pairs()[0]

    def __getitem__(self, place: int) -> TokenPair:
        """One of the pictures that have tokens, by its place among them."""
        return self.source.tokens([self.images[place]]).pairs()[0]

    def __repr__(self) -> str:
        if not len(self):
            return "Tokens(0 pictures)"
        first = next(self._batches())
        grid = ""
        if len(first.layouts[0].tiles) == 1:
            grid = ", grid {} x {}".format(*first.layouts[0].tiles[0].pre_grid)
        sides = f"{_shape(first.pre)} before, {_shape(first.post)} after"
        return f"Tokens({len(self)} pictures, {sides}{grid})"

    @classmethod
    def of(
        cls,
        pre: Any,
        post: Any,
        *,
        grid: GivenGrid = None,
        names: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> Tokens:
        """Tokens from arrays or tensors of any precision and device.

        Args:
            pre: `[images, tokens, width]`, or one `[tokens, width]` an image where these are not equally many.
            post: the same images after the connector.
            grid: `(rows, columns)` of the encoder's tokens. A connector with as many tokens has the same grid; one with
                fewer says its own, `((rows, columns), (rows, columns))`, or has no places.
            names: what tells images apart in everything that is measured; a hash of `pre` unless told.
            name: of the connector, under which results are filed.

        Raises:
            TypeError: a name that is no text.
            ValueError: sides of different numbers of images or of the wrong rank, NaN or infinity, a grid that does not
                fit.
        """
        require_name(name)
        sides = {"pre": per_image(pre, "pre"), "post": per_image(post, "post")}
        if len(sides["pre"]) != len(sides["post"]):
            raise ValueError(
                f"pre and post hold the same images, got {len(sides['pre'])} and {len(sides['post'])}"
            )
        if names is not None and len(names) != len(sides["pre"]):
            raise ValueError(f"one name an image: got {len(names)} names and {len(sides['pre'])} images")
        stated = StatedGrid.of(grid)
        _require_one_of_each(names, sides["pre"], sides["post"])
        images = [hashed(text) for text in names] if names is not None else list(map(hash_of, sides["pre"]))
        held = {
            image: TokenBatch((image,), (stated.layout(len(before), len(after)),), before, after)
            for image, before, after in zip(images, sides["pre"], sides["post"], strict=True)
        }
        info = ConnectorInfo(
            model=name,
            family="arrays",
            connector="arrays",
            modules=(),
            parameters=0,
            dtype=str(sides["post"][0].dtype).removeprefix("torch.") if len(images) else "float32",
            weights_sha256=None,
            places="as stated" if stated.pre else f"{PLACES_NOT_KNOWN}: no grid was given",
        )
        documents = tuple(
            CapturedDocument(
                path=text, file_sha256=None, label=None, image=image, entropy=None, unreadable=None
            )
            for text, image in zip(names or map(str, range(len(images))), images, strict=True)
        )
        return cls(HeldTokens(manifest_of(info, ()), held), documents)

    def save(self, folder: str | Path) -> Path:
        """Write the tokens as `connector-bench capture` does. ValueError where the folder holds a capture already."""
        out = Path(folder).expanduser()
        make_folder(out)
        if (out / MANIFEST).exists() or token_files(out):
            raise ValueError(f"{out} holds a capture already; name another folder")
        writer = TokenFileWriter(out, 0)
        with closing(writer):
            for image in dict.fromkeys(self.images):
                writer.add(self.source.tokens([image], bool(self.source.manifest.untrained_seeds)))
            writer.flush()
        write_manifest(out, self.source.manifest)
        write_documents(out, self.documents, self.folder)
        return out

    @classmethod
    def load(cls, folder: str | Path) -> Tokens:
        """Open what `save` or `connector-bench capture` has written; tokens are read when they are asked for.

        ValueError and OSError as `CapturedTokens`.
        """
        captured = CapturedTokens(Path(folder).expanduser())
        pictures = captured.pictures()
        return cls(captured, tuple(pictures.documents), pictures.folder)

    def documents_of(self, task: str, numbers: Sequence[int] | None = None) -> list[Document]:
        """The documents of a task, as a measurement takes them."""
        chosen = range(len(self.documents)) if numbers is None else numbers
        return [_document(task, number, self.documents[number], self.folder) for number in chosen]

    def keys(self) -> list[bytes]:
        """By what each picture is put among those that are tested."""
        from connector_bench.tasks.captured_tokens import split_key

        return [split_key(one.file_sha256, one.image, one.path) for one in self.documents]


def _require_one_of_each(
    names: Sequence[str] | None, before: Sequence[Tensor], after: Sequence[Tensor]
) -> None:
    """ValueError where two images share a name, or what they are told apart by, and have other tokens."""
    first: dict[str, int] = {}
    for number, name in enumerate(names if names is not None else map(hash_of, before)):
        other = first.setdefault(str(name), number)
        same = all(
            one[other].shape == one[number].shape and bool((one[other] == one[number]).all())
            for one in (before, after)
        )
        if not same:
            shared = f"the name {name!r:.60}" if names is not None else "their tokens before the connector"
            raise ValueError(
                f"images {other} and {number} share {shared} and have other tokens; names= tells apart"
            )


def hash_of(tokens: Tensor) -> str:
    """A name for an image by its encoder tokens alone."""
    digest = hashlib.sha256(f"{tuple(tokens.shape)} {tokens.dtype}".encode())
    digest.update(np.ascontiguousarray(tokens.float().numpy()).tobytes())
    return digest.hexdigest()


def hashed(text: str) -> str:
    """A name for an image by what its user calls it."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def _document(task: str, number: int, written: CapturedDocument, folder: str) -> Document:
    return Document(
        task,
        number,
        folder or "tokens",
        partial(_picture, written, folder),
        {} if written.label is None else {"label": written.label},
        facts=partial(_facts, written),
    )


def _facts(written: CapturedDocument) -> PictureFacts:
    if written.image is None or written.unreadable is not None:
        raise NoPicture(str(written.unreadable))
    return PictureFacts(written.image, math.nan if written.entropy is None else written.entropy)


def _picture(written: CapturedDocument, folder: str) -> Any:
    from PIL import Image

    from connector_bench.pictures import as_rgb

    if not folder:
        raise NoPicture("tokens were captured from memory, so their pictures are not at hand")
    return as_rgb(Image.open(Path(folder) / written.path)), 1


def _shape(tokens: Tensor) -> str:
    return " x ".join(map(str, tokens.shape))
