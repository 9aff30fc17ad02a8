"""A folder of pictures through tower and connector onto the disk; a run that was broken off goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connector_bench.atomic_files import remove_leftovers
from connector_bench.captured.token_files import TokenFileWriter, token_files
from connector_bench.captured.written import (
    MANIFEST,
    CapturedDocument,
    Manifest,
    manifest_of,
    read_part,
    write_documents,
    write_manifest,
)
from connector_bench.connectors import capture
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.pictures import PictureReader
from connector_bench.run.documents import Document, PictureRows
from connector_bench.run.reading import LocalImages, read_pictures
from connector_bench.run.running import UNTRAINED_SEEDS

if TYPE_CHECKING:
    from PIL.Image import Image

TASK = "capture"
MADE_WITH = ("connector-bench", "transformers", "torch")
"""Packages whose version must be the same where a capture goes on."""


@dataclass(frozen=True)
class CaptureOutcome:
    """What a capture has left, in numbers."""

    documents: int
    captured: int
    """Different pictures whose tokens lie in the folder."""
    found_there: int
    """Of these, those that an earlier run had left."""
    left_out: dict[str, str]
    """Files without tokens, each with the reason."""


def capture_folder(
    adapter: ConnectorAdapter,
    images: Path,
    out: Path,
    *,
    batch_size: int = 8,
    limit: int | None = None,
    untrained: bool = False,
) -> CaptureOutcome:
    """Write the tokens of every picture below a folder, and what is needed to measure them without model and pictures.

    Args:
        adapter: the model's.
        images: folder of pictures; those are taken that the tasks `..._imagefolder` take, in their order.
        out: where the tokens go; tokens that lie there already are of the same model, or nothing is written.
        batch_size: pictures that pass the model together.
        limit: so many files at most, the first ones.
        untrained: also keep what untrained copies of the connector make, which the tasks' controls need.

    Raises:
        ValueError: there are no pictures, the folder holds another model's tokens, none of the pictures can be read, or
            too many of them give NaN or infinity.
        OSError: the folder cannot be written.
    """
    documents, rows = documents_of_folder(images, limit)
    seeds: list[int] = []
    if untrained:
        if (why := adapter.add_untrained(UNTRAINED_SEEDS)) is not None:
            raise ValueError(f"no untrained copy of this connector can be kept: {why}")
        seeds = list(UNTRAINED_SEEDS)
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    _claim(out, adapter, seeds)
    files = token_files(out)
    there = {picture.image for file in files for picture in file.content.pictures}
    reader = PictureReader()
    seen = read_pictures(documents, reader, "Reading pictures")
    wanted = [name for name in seen.shown_by if name not in there]
    reader.forget(there)
    left_out = capture.LeftOut()
    number = int(files[-1].path.stem.split("-")[1]) + 1 if files else 0
    writer = TokenFileWriter(out, number)
    try:
        with closing(
            capture.stream(
                adapter, _pictures(wanted, seen, reader), batch_size, left_out, untrained=untrained
            )
        ) as batches:
            for batch in _shown(batches, len(wanted)):
                writer.add(batch)
                capture.refuse_not_finite(left_out.not_finite, len(seen.shown_by))
        capture.refuse_not_finite(left_out.not_finite, len(seen.shown_by))
        writer.flush()
    finally:
        writer.close()
    without = left_out.refused | left_out.not_finite
    written = _written_documents(documents, rows, seen, without)
    captured = len(seen.shown_by) - len(without)
    if not captured:
        reasons = [one.unreadable for one in written if one.unreadable is not None]
        raise ValueError(f"0 of {len(written)} pictures could be captured: {reasons[0]}")
    write_documents(out, written, str(images.resolve()))
    reasons_by_file = {one.path: one.unreadable for one in written if one.unreadable is not None}
    return CaptureOutcome(len(written), captured, len(seen.shown_by.keys() & there), reasons_by_file)


def documents_of_folder(images: Path, limit: int | None) -> tuple[list[Document], PictureRows]:
    """The pictures below a folder, the first `limit` of them. ValueError where there are none."""
    from connector_bench.tasks.picture_folder import picture, pictures_below

    if not images.is_dir():
        raise ValueError(f"{images} is no folder of pictures")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1")
    rows = pictures_below(images.resolve())
    found = PictureRows(rows, picture, str(images))
    numbers = range(min(len(rows), limit or len(rows)))
    labels = rows["label"][:]
    return [found.document(TASK, number, _label(labels[number])) for number in numbers], found


def _label(label: str | None) -> dict[str, str]:
    return {} if label is None else {"label": label}


def _claim(out: Path, adapter: ConnectorAdapter, seeds: list[int]) -> None:
    """Write whose tokens the folder holds. ValueError where it holds those of another model, or something else."""
    own = manifest_of(adapter.info, seeds)
    if (out / MANIFEST).exists():
        refuse_other(read_part(Manifest, out, MANIFEST), own, out)
        return
    if token_files(out):
        raise ValueError(f"{out} holds files of tokens and no {MANIFEST} that says whose they are")
    write_manifest(out, own)


def refuse_other(there: Manifest, own: Manifest, folder: Path) -> None:
    """ValueError naming the first thing in which a folder's tokens are not of this model, or made otherwise."""

    def parts(manifest: Manifest) -> dict[str, object]:
        versions = {f"version of {name}": manifest.versions.get(name) for name in MADE_WITH}
        kept = {"untrained_seeds": manifest.untrained_seeds, "hardware": manifest.hardware}
        return {**manifest.connector.model_dump(), **versions, **kept}

    before, now = parts(there), parts(own)
    for name, value in before.items():
        if value != now[name]:
            raise ValueError(
                f"{folder} holds tokens of another capture: {name} is {value!s:.80} there and {now[name]!s:.80} here; "
                "name another folder"
            )


def _pictures(
    names: Sequence[str], seen: LocalImages, reader: PictureReader
) -> Iterator[tuple[str, Callable[[], Image]]]:
    def picture(name: str) -> Image:
        kept = reader.take(name)
        return seen.shown_by[name].load() if kept is None else kept

    for name in names:
        yield name, partial(picture, name)


def _shown(batches: Iterator[capture.TokenBatch], total: int) -> Iterator[capture.TokenBatch]:
    from tqdm import tqdm

    with tqdm(total=total, desc="Vision tower and connector", unit="image") as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _written_documents(
    documents: Sequence[Document], rows: PictureRows, seen: LocalImages, without: dict[str, str]
) -> list[CapturedDocument]:
    paths = rows.rows["image_id"][:]
    files = [row["path"] for row in rows.rows.with_format("arrow")["image"].to_pylist()]
    found = []
    for document in documents:
        key = (TASK, document.doc_id)
        image = seen.image_of.get(key)
        found.append(
            CapturedDocument(
                path=paths[document.doc_id],
                file_sha256=_file_sha256(Path(files[document.doc_id])),
                label=document.labels.get("label"),
                image=image,
                entropy=None if image is None else seen.entropy[image],
                unreadable=seen.unreadable.get(key) if image is None else without.get(image),
            )
        )
    return found


def _file_sha256(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
