"""`capture`: pictures through an encoder and its connector, into memory or onto the disk."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector_bench.api.chosen_adapter import adapter_of
from connector_bench.api.given_pictures import GivenImages, GivenPictures, Labels
from connector_bench.api.measured_pictures import places_line
from connector_bench.api.spoken import refuse_old_order, say
from connector_bench.api.tokens import Tokens
from connector_bench.atomic_files import make_folder
from connector_bench.captured.held_tokens import HeldTokens
from connector_bench.captured.token_files import TokenFileWriter, token_files
from connector_bench.captured.written import (
    MANIFEST,
    CapturedDocument,
    manifest_of,
    write_documents,
    write_manifest,
)
from connector_bench.connectors import capture as streaming
from connector_bench.connectors.stated_grid import GivenGrid
from connector_bench.pictures import PictureReader
from connector_bench.run.all_ranks import most_common
from connector_bench.run.answers import left_out_line
from connector_bench.run.documents import first_of
from connector_bench.run.reading import LocalImages, read_pictures
from connector_bench.run.running import UNTRAINED_SEEDS
from connector_bench.types import TokenBatch

if TYPE_CHECKING:
    from PIL.Image import Image

TASK = "capture"


def capture(
    model: Any,
    images: GivenImages,
    processor: Any = None,
    *,
    grid: GivenGrid = None,
    labels: Labels | None = None,
    untrained: bool = False,
    batch_size: int = 8,
    folder: str | Path | None = None,
    name: str | None = None,
) -> Tokens:
    """What enters and what leaves a connector for some pictures; the language model never runs.

    >>> import numpy as np, torch, connector_bench as cb
    >>> pictures = [np.random.default_rng(n).integers(0, 255, (32, 32, 3), np.uint8) for n in range(6)]
    >>> patches = torch.nn.Conv2d(3, 8, kernel_size=8, stride=8).eval()
    >>> def encoder(pixels):
    ...     return patches(pixels).flatten(2).transpose(1, 2)
    >>> def processor(pictures):
    ...     return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) / 255 for p in pictures])
    >>> cb.capture((encoder, torch.nn.Linear(8, 4).eval()), pictures, processor, grid=(4, 4))
    Tokens(6 pictures, 16 x 8 before, 16 x 4 after, grid 4 x 4)

    Args:
        model: a model of transformers in evaluation mode, a model of the zoo (`connector_bench.zoo.load`), a
            checkpoint's name (vision tower and connector alone are loaded), or bare modules as `(encoder, connector)`:
            the encoder gives `[batch, tokens, width]` as the connector takes it, without a class token, or has
            `last_hidden_state`.
        images: a folder, or pictures one after the other: Pillow's, arrays `[rows, columns, 3]`, or paths.
        processor: the model's own; of bare modules any callable from a list of RGB pictures to the encoder's input.
        grid: of bare modules `(rows, columns)` of the encoder's tokens, or both sides' grids; None where nobody knows
            where they lie. Whether they lie so is tried by changing one patch at a time.
        labels: a class for each picture; a folder's sub-folders are labels unless told.
        untrained: also keep what three untrained copies of the connector make, which the untrained control needs.
        batch_size: pictures that pass together.
        folder: write the tokens there as they come, and hold none in memory.
        name: under which results are filed.

    Returns:
        One `TokenPair` for each picture that could be read, in order, duplicates included.

    Raises:
        ValueError: naming what arrived and what is allowed: a part of the wrong shape, a grid that does not fit, no
            picture that can be captured, a folder that holds a capture. UnsupportedModel, which is one, for a model
            without a connector.

    Warns:
        UserWarning: pictures that are left out; a stated grid that does not hold, whose places are not used.
    """
    refuse_old_order("capture", images)
    given = GivenPictures.of(images, labels)
    adapter = adapter_of(model, processor, grid, name, given.size_of_first())
    seeds: tuple[int, ...] = ()
    if untrained:
        if (why := adapter.add_untrained(UNTRAINED_SEEDS)) is not None:
            raise ValueError(f"no untrained copy of this connector can be kept: {why}")
        seeds = UNTRAINED_SEEDS
    out = None if folder is None else _claimed(Path(folder).expanduser())
    reader = PictureReader()
    seen = read_pictures(given.of_task(TASK), reader, "Reading pictures")
    left_out = streaming.LeftOut()
    held: dict[str, TokenBatch] = {}
    pictures = ((image, partial(_picture, image, seen, reader)) for image in seen.shown_by)
    with (
        nullcontext() if out is None else closing(TokenFileWriter(out, 0)) as writer,
        closing(streaming.stream(adapter, pictures, batch_size, left_out, untrained=untrained)) as batches,
    ):
        for batch in batches:
            if writer is not None:
                writer.add(batch)
            else:
                here = batch.mapped(lambda tokens: tokens.cpu())
                held |= {image: _one(here, number) for number, image in enumerate(here.images)}
            streaming.refuse_not_finite(left_out.not_finite, len(seen.shown_by))
        streaming.refuse_not_finite(left_out.not_finite, len(seen.shown_by))
        if writer is not None:
            writer.flush()
    documents = _documents(given, seen, left_out.refused | left_out.not_finite)
    reasons = {number: one.unreadable for number, one in enumerate(documents) if one.unreadable is not None}
    if len(reasons) == len(documents):
        raise ValueError(
            f"0 of {len(documents)} pictures could be captured: {most_common(list(reasons.values()))}"
        )
    warned: set[str] = set()
    if reasons:
        say([left_out_line("picture", reasons, {})])
        warned.add(left_out_line("document", reasons, {}))
    if remarks := adapter.place_remarks:
        say(remarks)
        warned.add(places_line(adapter.info))
    manifest = manifest_of(adapter.info, seeds)
    if out is None:
        return Tokens(HeldTokens(manifest, held), tuple(documents), given.folder, warned)
    write_manifest(out, manifest)
    write_documents(out, documents, given.folder)
    return replace(Tokens.load(out), warned=warned)


def _claimed(out: Path) -> Path:
    make_folder(out)
    if (out / MANIFEST).exists() or token_files(out):
        raise ValueError(f"{out} holds a capture already; name another folder")
    return out


def _picture(image: str, seen: LocalImages, reader: PictureReader) -> Image:
    kept = reader.take(image)
    return first_of(seen.shown_by[image].shown) if kept is None else kept


def _one(batch: TokenBatch, number: int) -> TokenBatch:
    """One picture of a batch, with tokens of its own: a part would keep the whole batch alive."""
    one = batch.take([number])
    return one.mapped(lambda tokens: tokens.clone()) if len(batch) > 1 else one


def _documents(given: GivenPictures, seen: LocalImages, without: dict[str, str]) -> list[CapturedDocument]:
    found = []
    for document, path, file in zip(given.documents, given.paths, given.files, strict=True):
        key = (TASK, document.doc_id)
        image = seen.image_of.get(key)
        found.append(
            CapturedDocument(
                path=path,
                file_sha256=file,
                label=document.labels.get("label"),
                image=image,
                entropy=None if image is None else seen.entropy[image],
                unreadable=seen.unreadable.get(key) if image is None else without.get(image),
            )
        )
    return found
