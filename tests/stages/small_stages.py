"""The task `connector_stages` with readers of seconds: its own YAML, and some options replaced."""

from __future__ import annotations

from pathlib import Path

import yaml

TASKS = Path(__file__).parents[2] / "tasks"
SCHEDULE = {"epochs": 2, "batch_size": 8}


def write_small_stages(folder: Path, name: str = "small_stages", images: int = 40) -> tuple[str, ...]:
    """Write the YAML and return the arguments of lmms-eval that find it; `images` train the readers."""
    folder.mkdir(parents=True, exist_ok=True)
    functions = "!function connector_bench.tasks.functions"
    lines = [
        f"task: {name}",
        f"include: {TASKS / 'connector_stages.yaml'}",
        "connector_bench:",
        "  kinds: [object, existence, count, category]",
        f"  question_of: {functions}.asked",
        f"  questions_of: {functions}.reader_questions",
        "  answered_by: scenes_vqa",
        "  train:",
        f"    documents: {functions}.probe_scenes",
        f"    doc_to_visual: {functions}.picture",
        f"    images: {images}",
    ]
    block = yaml.safe_dump({"attention": SCHEDULE, "linear": SCHEDULE})
    lines += [f"  {line}" for line in block.splitlines()]
    (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return ("--include_path", str(folder))
