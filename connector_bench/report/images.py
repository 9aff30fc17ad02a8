"""The report's section of images: chosen by loss, with what the model answered about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connector_bench.association.values import Analysis
from connector_bench.report.answered_questions import questions_by_image
from connector_bench.report.blocks import Block, Prose, Section
from connector_bench.report.gallery_values import AskedQuestion, Picture
from connector_bench.report.loss_scale import scale_chart
from connector_bench.report.picture_gallery import chosen, gallery, image_figures, loss_of
from connector_bench.results.conditions import places_taken_away
from connector_bench.results.models import ModelRuns
from connector_bench.results.tasks import RECONSTRUCTION

Why = dict[str, tuple[str, ...]]


def images_section(results: ModelRuns, analysis: Analysis) -> Section:
    """A gallery of the most and the least lossy images and of some between; says what is missing."""
    figures = image_figures(results)
    questions = _questions(results, analysis)
    why, pictures, missing = _pictured(results, questions)
    why = why or chosen(figures)
    if not why:
        missing = [
            "No figures of single images: run lmms-eval with --log_samples and a task of connector_bench."
        ]
    elif not questions:
        missing.append("No answers: no other task of this run is about the same images.")
    blocks: list[Block] = [Prose(text, "missing") for text in missing]
    if why:
        if pictures:
            blocks.append(scale_chart())
        order = sorted(why, key=lambda image: -(loss_of(figures.get(image, {})) or 0.0))
        chosen_in_order = {image: why[image] for image in order}
        blocks.append(
            gallery(
                chosen_in_order, figures, questions, pictures, _shows(_chosen_from(figures), bool(pictures))
            )
        )
    return Section("section-images", "Images", "Images by loss", tuple(blocks))


def _chosen_from(figures: Mapping[str, Mapping[str, float]]) -> int:
    """Images of which it is known what is lost of their patches; all that were measured where none was rebuilt."""
    return sum("lost" in row for row in figures.values()) or len(figures)


def _pictured(
    results: ModelRuns, questions: Mapping[str, Sequence[AskedQuestion]]
) -> tuple[Why, dict[str, Picture], list[str]]:
    """The images that runs of `patch_reconstruction` chose, their pictures, and what is missing."""
    tasks = results.of(RECONSTRUCTION)
    if not tasks:
        text = (
            "No pictures and no loss maps: patch_reconstruction did not run. Images are ordered by overlap."
        )
        return {}, {}, [text]
    from connector_bench.report.loss_pictures import REASONS, artefacts_of, loss_pictures

    why: Why = {}
    pictures: dict[str, Picture] = {}
    missing = []
    for task in tasks:
        artefacts = artefacts_of(task)
        if artefacts is None:
            missing.append(
                f"No pictures and no loss maps of {task.name}: they are written with --output_path and are kept in its "
                "folder connector_bench, which is not beside the result file."
            )
            continue
        why |= {one.image: (REASONS.get(one.why, one.why),) for one in artefacts.selection}
        connector = task.record.get("connector") or {}
        if places_taken_away(connector):
            missing.append(f"No loss maps of {task.name}: places of tokens are {connector['places']}.")
        pictures |= loss_pictures(task, artefacts, questions)
    return why, pictures, missing


def _questions(results: ModelRuns, analysis: Analysis) -> dict[str, list[AskedQuestion]]:
    """Every question of the joined tasks by the hash of its image; each task is asked once."""
    found: dict[str, list[AskedQuestion]] = {}
    for task in results.of(None):
        tables = [table for table in analysis.tables if table.score_task == task.name]
        if not tables:
            continue
        richest = max(tables, key=lambda table: "loss_inside" in table.losses)
        for image, questions in questions_by_image(richest, task).items():
            found.setdefault(image, []).extend(questions)
    return found


def _shows(images: int, drawn: bool) -> str:
    said = f"Chosen by loss from {images:,} images: the most lossy, the least lossy, and some evenly spread between."
    if not drawn:
        return said
    return (
        f"{said} Beside each picture is its loss map: white frames are the ten patches of highest loss, 1 the worst; "
        "outlines are the answer to the question of that number."
    )
