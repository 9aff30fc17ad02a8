"""The task that a curve asks about, and its YAML with an intervention in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from connector_bench.atomic_files import make_folder, write_atomically
from connector_bench.interventions.intervention import IN_A_TASK, Intervention
from connector_bench.results.harness_files import as_file_name


@dataclass(frozen=True)
class AskedTask:
    """A task of lmms-eval by its name, where its YAML lies, and what that says under `metadata`."""

    name: str
    path: Path
    metadata: dict[str, Any]
    include_path: Path | None = None
    """The user's folder that it lies in, where it is not lmms-eval's own."""

    def written(self, asked: Intervention, folder: Path) -> str:
        """Write the task with an intervention into a folder, and return its name."""
        digest = hashlib.sha256(asked.as_json().encode()).hexdigest()[:8]
        name = f"{self.name}-{as_file_name(asked.said)[:48].strip('-')}-{digest}"
        content = {
            "include": str(self.path.absolute()),
            "task": name,
            "metadata": {
                **self.metadata,
                IN_A_TASK: asked.model_dump(mode="json", by_alias=True, exclude_none=True),
            },
        }
        make_folder(folder)
        write_atomically(folder / f"{name}.yaml", yaml.safe_dump(content, sort_keys=False).encode())
        return name


def asked_task(name: str, include_path: Path | None = None) -> AskedTask:
    """A task by its name. ValueError where lmms-eval has none of that name, or it stands for several."""
    from connector_bench.entry import loaded_plugin

    path, config = loaded_plugin().yaml_of(name, include_path)
    given = config.get("metadata")
    parts = given if isinstance(given, list) else [given]
    metadata = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    return AskedTask(name, path, metadata, include_path)
