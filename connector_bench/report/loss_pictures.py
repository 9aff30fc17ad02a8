"""Loss maps that a run of `patch_reconstruction` left, as pictures for the page on one colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

from PIL import Image as pillow
from PIL.Image import Image
from safetensors import SafetensorError

from connector_bench.reconstruction.artefacts import SELECTION, Artefacts, Mask
from connector_bench.reconstruction.lossmaps import LossMap
from connector_bench.report.answered_questions import INSIDE
from connector_bench.report.gallery_values import AskedQuestion, Picture
from connector_bench.report.overlays import panel_names, render
from connector_bench.report.picture_gallery import LEAST, MOST, SPREAD
from connector_bench.results.harness_files import UnusableResult
from connector_bench.results.tasks import TaskRun

REASONS = {"most lossy": MOST, "least lossy": LEAST, "spread": SPREAD}
WEBP = {"format": "webp", "pil_kwargs": {"quality": 82, "method": 4}}


def artefacts_of(task: TaskRun) -> Artefacts | None:
    """What the run left beside its result file, or beside the folder of the model; None where there is nothing.

    Raises UnusableResult for a selection that cannot be read.
    """
    folder = task.file.left_behind(task.name)
    return _read(folder) if folder is not None and (folder / SELECTION).is_file() else None


def _read(folder: Path) -> Artefacts:
    try:
        return Artefacts(folder)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UnusableResult(f"{folder / SELECTION}: {type(error).__name__}: {error}") from error


def loss_pictures(
    task: TaskRun, artefacts: Artefacts, questions: Mapping[str, Sequence[AskedQuestion]]
) -> dict[str, Picture]:
    """Of every selected image: itself and its loss map, answers outlined under their question's number.

    Raises UnusableResult for pictures, masks or maps that cannot be read.
    """
    inside = {number: row.get("loss_inside") for number, row in task.kept_answers.items()}
    try:
        return {
            name: drawn(artefacts.picture(name), loss_map, _masks(artefacts, questions.get(name, ()), inside))
            for name, loss_map in artefacts.maps_of_selection().items()
        }
    except (OSError, LookupError, ValueError, SafetensorError) as error:
        raise UnusableResult(f"{artefacts.folder}: {type(error).__name__}: {error}") from error


def drawn(picture: Image, loss_map: LossMap, masks: Mapping[str, Mask] = MappingProxyType({})) -> Picture:
    """The picture beside its loss map, for a page."""
    webp = render(picture, loss_map, masks=masks, encoding=WEBP)
    return Picture(webp, *pillow.open(BytesIO(webp)).size, panel_names(loss_map), tuple(filter(None, masks)))


def _masks(
    artefacts: Artefacts, questions: Sequence[AskedQuestion], inside: Mapping[int, float | None]
) -> dict[str, Mask]:
    """Masks by question. Tasks may number documents differently: a mask is that of the question with its loss."""
    masks = {}
    for place, asked in enumerate(questions, start=1):
        loss = asked.figures.get(INSIDE)
        if loss is not None and inside.get(asked.doc_id) == loss:
            mask = artefacts.mask(asked.doc_id)
            if mask is not None:
                masks[f"Q{place}"] = mask
    return masks
