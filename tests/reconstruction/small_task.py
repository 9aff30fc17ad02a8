"""The task `patch_reconstruction` with a budget of seconds: its own YAML, and some options replaced."""

from pathlib import Path

import yaml

TASKS = Path(__file__).parents[2] / "tasks"
OPTIONS = {
    "patch_pairs": 6000,
    "validation_pairs": 2000,
    "mlp_width": 64,
    "schedule": {"epochs": 3, "learning_rate": 0.003},
    "attention_width": 32,
    "attention_heads": 4,
    "attention_schedule": {"epochs": 3, "batch_size": 16},
}


def write_small_task(
    folder: Path, name: str = "small", images: int = 60, **options: object
) -> tuple[str, ...]:
    """Write the YAML and return the arguments of lmms-eval that run it; `images` train the probes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(
        {"task": name, "include": str(TASKS / "patch_reconstruction.yaml")}, sort_keys=False
    )
    text += "connector_bench:\n  mask: !function connector_bench.tasks.functions.answer_mask\n"
    text += "  train:\n    documents: !function connector_bench.tasks.functions.probe_scenes\n"
    text += "    doc_to_visual: !function connector_bench.tasks.functions.picture\n"
    text += f"    images: {images}\n"
    block = yaml.safe_dump(OPTIONS | options)
    text += "".join(f"  {line}\n" for line in block.splitlines())
    (folder / f"{name}.yaml").write_text(text)
    return ("--include_path", str(folder), "--tasks", name)
