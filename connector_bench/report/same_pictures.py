"""The same pictures for several models: each picture once, beside it every model's loss map of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import islice

from PIL import Image as pillow
from PIL.Image import Image
from safetensors import SafetensorError

from connector_bench.reconstruction.artefacts import Artefacts
from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.report.blocks import Block, ComparedPicture, PictureColumn, Prose, SamePictures
from connector_bench.report.gallery_values import Picture
from connector_bench.report.loss_pictures import WEBP, artefacts_of
from connector_bench.report.loss_scale import scale_chart
from connector_bench.report.overlays import panel_names, render
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import TaskRun

SHOWN = 6


def same_pictures(tasks: Mapping[str, TaskRun]) -> list[Block]:
    """Up to `SHOWN` pictures that a run has kept, those of the smallest hashes, by the models' `patch_reconstruction`.

    A sentence in their place where the models were not measured on the same images or a run left no maps. Raises
    UnusableResult for maps or pictures that cannot be read.
    """
    if len({task.record.get("images_sha256") for task in tasks.values()}) > 1:
        return [
            Prose(
                "The models were not measured on the same images, so no picture is shown of all.", "missing"
            )
        ]
    left = {model: artefacts_of(task) for model, task in tasks.items()}
    if absent := [model for model, artefacts in left.items() if artefacts is None]:
        return [
            Prose(f"No loss maps of {', '.join(absent)}: they are not beside the result files.", "missing")
        ]
    kept = {model: artefacts for model, artefacts in left.items() if artefacts is not None}
    try:
        return _drawn(kept)
    except (OSError, LookupError, ValueError, SafetensorError) as error:
        folders = ", ".join(str(one.folder) for one in kept.values())
        raise UnusableResult(f"{folders}: {type(error).__name__}: {error}") from error


def _drawn(kept: Mapping[str, Artefacts]) -> list[Block]:
    maps = {model: {one.image_id: one for one in artefacts.maps()} for model, artefacts in kept.items()}
    shared = sorted(set.intersection(*(set(of) for of in maps.values())))
    pictured = ((image, _picture(image, list(kept.values()))) for image in shared)
    rows = tuple(
        islice(
            (
                _row(image, picture, {model: of[image] for model, of in maps.items()})
                for image, picture in pictured
                if picture is not None
            ),
            SHOWN,
        )
    )
    if not rows:
        return [Prose("The models' runs share no picture that was kept.", "missing")]
    shows = (
        "The same pictures for every model, chosen by their hash and by no figure. Numbers: mean loss. Frames: the ten "
        "patches of highest loss, 1 the worst."
    )
    return [scale_chart(), SamePictures("section-same-pictures", shows, rows)]


def _picture(image: str, kept: Sequence[Artefacts]) -> Image | None:
    for artefacts in kept:
        with suppress(FileNotFoundError):
            return artefacts.picture(image)
    return None


def _row(image: str, picture: Image, maps: Mapping[str, LossMap]) -> ComparedPicture:
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=82)
    columns = tuple(
        PictureColumn(model, float(one.loss.mean()), _heat(picture, one)) for model, one in maps.items()
    )
    return ComparedPicture(image, Picture(buffer.getvalue(), picture.width, picture.height), columns)


def _heat(picture: Image, loss_map: LossMap) -> Picture:
    webp = render(picture, loss_map, encoding=WEBP, original=False)
    return Picture(webp, *pillow.open(BytesIO(webp)).size, panel_names(loss_map)[1:])
