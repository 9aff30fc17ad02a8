"""The one room that imports lmms_eval: task index, request type, task classes and our models.

lmms-eval has an entry point for models and none for tasks, so `register` wraps `TaskManager.initialize_tasks` to
index our folder as well, and adds the request type `measure_connector` to the base class of all models. For tasks
that are not ours neither changes anything.
"""

from __future__ import annotations

import lmms_eval.models  # noqa: F401  which registers us by way of `entry`, whoever of the two is imported first

# isort: split
from connector_bench.plugin.captured_model import ConnectorCapture
from connector_bench.plugin.index import pictures_of, tasks_folder, yaml_of
from connector_bench.plugin.registering import register
from connector_bench.plugin.stage_task import ConnectorStages
from connector_bench.plugin.task_classes import KnnPreservation, PatchReconstruction, documents_of
from connector_bench.plugin.zoo_model import ConnectorZoo

__all__ = [
    "ConnectorCapture",
    "ConnectorStages",
    "ConnectorZoo",
    "KnnPreservation",
    "PatchReconstruction",
    "documents_of",
    "pictures_of",
    "register",
    "tasks_folder",
    "yaml_of",
]
