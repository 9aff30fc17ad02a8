"""The report on stages: of each kind of question what is read before, after, and answered, and who is to blame."""

from __future__ import annotations

from collections.abc import Mapping

from connector_bench.headlines import READER_GAP, STAGE_LOSSES, STAGE_TABLE
from connector_bench.metrics import label_of
from connector_bench.number_style import number
from connector_bench.report.blocks import Block, Finding, Prose, ReportTable, Section, TableCell, cell_of
from connector_bench.report.estimates import apart, covers_chance, interval, without_interval
from connector_bench.results.tasks import TaskRun
from connector_bench.stats.intervals import Score

ENCODER, CONNECTOR, MODEL = STAGE_LOSSES
WHERE = {ENCODER: "the encoder", CONNECTOR: "the connector", MODEL: "the language model"}


def kinds_of(task: TaskRun) -> list[str]:
    """Kinds of questions that have figures, in the task's order."""
    kinds = (task.record.get("options") or {}).get("kinds") or []
    return [str(kind) for kind in kinds if CONNECTOR.format(kind=kind) in task.scores]


def stage_findings(task: TaskRun, suffix: str = "") -> list[Finding]:
    """One sentence on each kind of question with its intervals, and where a reader was too weak."""
    found = [Finding(f"Questions of {kind}{suffix}", _of_kind(task, kind)) for kind in kinds_of(task)]
    if worse := task.record.get("read_worse_before"):
        text = (
            f"Of questions of {', '.join(map(str, worse))} more is read behind the connector than before it. What is "
            "behind comes from what is before, so the reader misses some of that: the encoder loses less than its "
            "figure says, and the connector more than its own. Whether the connector is to blame for them is not known."
        )
        found.append(Finding(f"Reader too weak{suffix}", text, "warning"))
    if beyond := _beyond_the_readers(task):
        found.append(Finding(f"Readers below the model{suffix}", beyond, "warning"))
    return found


def _beyond_the_readers(task: TaskRun) -> str | None:
    """What the model answers that neither reader does, where it is more than its interval; None elsewhere."""
    gaps = {
        kind: task.scores[READER_GAP.format(kind=kind)]
        for kind in kinds_of(task)
        if _readers_below(task, kind)
    }
    if not gaps:
        return None
    said = "; ".join(
        f"{kind} by {interval(gap)}, so the encoder loses at most "
        f"{number(1 - task.scores[STAGE_TABLE[2].format(kind=kind)].value)}"
        for kind, gap in gaps.items()
    )
    return (
        f"The model itself answers more than the better of both readers: {said}. What it answers is in the tokens on "
        "both sides. Of these questions the readers compare the sides; they do not say how much is there."
    )


def _of_kind(task: TaskRun, kind: str) -> str:
    read = [task.scores[name.format(kind=kind)] for name in STAGE_TABLE[:2]]
    chance = "" if read[0].chance is None else f" (chance {number(read[0].chance)})"
    text = (
        f"The reader answers {interval(read[0])} from what enters the connector and "
        f"{interval(read[1])} from what leaves it{chance}"
    )
    model = task.scores.get(STAGE_TABLE[2].format(kind=kind))
    if model is not None:
        text += f", the model itself {interval(model)}"
    if covers_chance(read[0]):
        return f"{text}. Before the connector nothing is read beyond chance, so nothing can be said of what it loses."
    losses = _losses_of(task, kind)
    said = [f"{WHERE[name]} loses {interval(score)}" for name, score in losses.items()]
    before = task.scores.get(ENCODER.format(kind=kind))
    if why := without_interval(read[0], *losses.values()):
        verdict = f"{why[0].upper()}{why[1:]}, so who is to blame is not told."
    else:
        verdict = _blame(losses, _readers_below(task, kind))
    if MODEL not in losses:
        verdict += " What the language model misses was not measured."
    encoder = "" if before is None else f" Before both, the encoder or this reader loses {interval(before)}."
    return f"{text}: {' and '.join(said)}. {verdict}{encoder}"


def blamed(task: TaskRun, kind: str) -> str:
    """Who loses the questions of a kind by the intervals, in words that `for KIND` may follow."""
    if covers_chance(task.scores[STAGE_TABLE[0].format(kind=kind)]):
        return "it is not known, since nothing is read beyond chance before the connector,"
    losses = _losses_of(task, kind)
    if why := without_interval(task.scores[STAGE_TABLE[0].format(kind=kind)], *losses.values()):
        return f"it is not told, since {why},"
    guilty = _guilty(losses)
    if guilty and _readers_below(task, kind):
        return "it is not known, since the model answers more from the same tokens than either reader,"
    if len(guilty) == len(WHERE) - 1 and not apart(*losses.values()):
        return "both lose, which of them more is not distinguishable,"
    if guilty:
        return f"{WHERE[max(guilty, key=lambda name: losses[name].value)]} is to blame"
    if CONNECTOR in _negative(losses):
        return "it is not known, since more is read behind the connector than before it,"
    if MODEL in _negative(losses):
        return "it is not known, since the model answers more than is read behind the connector,"
    return "neither is distinguishable from losing nothing"


def _losses_of(task: TaskRun, kind: str) -> dict[str, Score]:
    found = {name: task.scores.get(name.format(kind=kind)) for name in (CONNECTOR, MODEL)}
    return {name: score for name, score in found.items() if score is not None}


def _guilty(losses: Mapping[str, Score]) -> list[str]:
    return [name for name, score in losses.items() if score.low > 0]


def _negative(losses: Mapping[str, Score]) -> list[str]:
    """Where more is found than before: no loss can be told by such a reader."""
    return [name for name, score in losses.items() if score.high < 0]


def _readers_below(task: TaskRun, kind: str) -> bool:
    """Whether the model answers more than both readers, so that what they miss behind the connector is there."""
    gap = task.scores.get(READER_GAP.format(kind=kind))
    return gap is not None and gap.low > 0


def _blame(losses: Mapping[str, Score], readers_below: bool) -> str:
    guilty = _guilty(losses)
    better = _negative(losses)
    said = []
    if guilty and readers_below:
        said.append(
            "Who is to blame is not known: what the readers miss, the model finds in the same tokens."
        )
    elif len(guilty) == len(WHERE) - 1 and not apart(*losses.values()):
        said.append("Both lose, and which of them more is not distinguishable.")
    elif guilty:
        worst = max(guilty, key=lambda name: losses[name].value)
        said.append(f"{WHERE[worst].capitalize()} is to blame.")
    elif not better:
        said.append("Neither is distinguishable from losing nothing.")
    if CONNECTOR in better:
        said.append(
            "More is read behind the connector than before it, so this reader cannot tell what it loses."
        )
    if MODEL in better and not (guilty and readers_below):
        said.append("The model reads better than this reader, so what it misses of the tokens is not known.")
    return " ".join(said)


def stage_section(task: TaskRun, suffix: str = "") -> Section:
    """The table of all kinds."""
    kinds = kinds_of(task)
    trained = task.record.get("train_images")
    scenes = f"{trained:,} other scenes" if isinstance(trained, int) else "other scenes"
    blocks: list[Block] = [
        Prose(
            f"Readers of one size learn on {scenes} to answer questions from the tokens before the connector and from "
            "those behind it, with the same budget and seed. What a reader answers is there; what it does not answer "
            "may be there for a stronger one. Bits are what a reader saves of an answer's cost beside the question "
            "alone."
        )
    ]
    if kinds:
        bits = [name for name in STAGE_TABLE if name.startswith("bits_")]
        shares = [name for name in STAGE_TABLE if name not in bits]
        shows = "With 95 % intervals over scenes; differences are paired. Kinds are never summed."
        for part, title, names in (
            ("stages", "By kind of question", shares),
            ("bits", "Bits by kind of question", bits),
        ):
            heads = [label_of(name.format(kind=kinds[0])).rpartition(", ")[0] for name in names]
            rows = tuple(
                (TableCell(kind), *(cell_of(task.scores.get(name.format(kind=kind))) for name in names))
                for kind in kinds
            )
            blocks.append(ReportTable(f"{task.anchor}-{part}", title, shows, ("kind", *heads), rows))
    return Section(
        task.anchor, f"Stages{suffix}", f"Read before, after, and answered: {task.name}", tuple(blocks)
    )
