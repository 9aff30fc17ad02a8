"""The one module that imports lmms_eval: task index, request type, task class and the zoo's model.

lmms-eval has an entry point for models and none for tasks, so `register` wraps `TaskManager.initialize_tasks` to
index our folder as well, and adds the request type `measure_connector` to the base class of all models. For tasks
that are not ours neither changes anything.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.api.registry import get_aggregation
from lmms_eval.api.task import ConfigurableMessagesTask
from lmms_eval.models.registry_v2 import ModelManifest
from lmms_eval.tasks import TaskManager
from lmms_eval.utils import load_yaml_config
from loguru import logger

from connector_bench.connectors import adapter_for
from connector_bench.exchange import together
from connector_bench.measurement import Document, Measure, TaskFigures, measure_documents, picture_hash
from connector_bench.preservation.figures import SET_GEOMETRY, metric_names
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.protocol import preservation_options
from connector_bench.provenance import environment

REQUEST_TYPE = "measure_connector"
OPTIONS_KEY = "connector_bench"
BATCH_SIZE = 8
UNTRAINED_SEEDS = (0, 1, 2)
"""Initialisations of the connector that are measured beside it as a control."""

IMAGES_OF = "images_of"
BORROWED = (
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "process_docs",
    "doc_to_visual",
)

_task_index: dict[str, dict[str, Any]] = {}


def register() -> list[ModelManifest]:
    """Index our tasks, add our request type, and hand lmms-eval the zoo's model."""
    _index_our_tasks()
    setattr(lmms, REQUEST_TYPE, measure_connector)
    return [ModelManifest("connector_zoo", simple_class_path="connector_bench.plugin.ConnectorZoo")]


def _index_our_tasks() -> None:
    original = TaskManager.initialize_tasks
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def initialize_tasks(
        self: TaskManager, include_path: str | list[str] | None = None, include_defaults: bool = True
    ) -> dict[str, Any]:
        index = original(self, include_path=include_path, include_defaults=include_defaults)
        ours = self._get_task_and_group(str(tasks_folder())) if include_defaults else {}
        _task_index.update({**ours, **index})
        return {**ours, **index}

    TaskManager.initialize_tasks = initialize_tasks


def tasks_folder() -> Path:
    """The folder of our task YAMLs, wherever the package is installed."""
    spec = find_spec("connector_bench.tasks")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("connector_bench.tasks is not installed; install connector-bench with pip")
    return Path(spec.origin).parent


def borrowed_images(task: str) -> dict[str, Any]:
    """What another task's YAML says of its data set and pictures; raises ValueError for a task not in the index."""
    entry = _task_index.get(task)
    if entry is None or entry["yaml_path"] == -1:
        close = difflib.get_close_matches(task, _task_index, n=3)
        raise ValueError(
            f"{IMAGES_OF}: {task} is no task with a YAML file; close names: {', '.join(close) or 'none'}"
        )
    config = load_yaml_config(entry["yaml_path"], mode="full")
    return {key: config[key] for key in BORROWED if key in config}


class ConnectorTask(ConfigurableMessagesTask):
    """A task whose requests measure the connector on each document's picture instead of generating text.

    Subclasses say which measure they want and which metrics it yields. In the YAML, `images_of:` names any
    lmms-eval task whose documents are to be measured, in their order; or data set, split and `doc_to_visual` stand
    there as in any task. Options of the measure stand under `connector_bench:`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        if IMAGES_OF in config:
            config = (
                {"doc_to_text": "", "doc_to_target": ""} | borrowed_images(config.pop(IMAGES_OF)) | config
            )
        options = dict(config.pop(OPTIONS_KEY, {}))
        self.label: str | None = options.pop("label", None)
        self.read_options(options)
        self.record: dict[str, Any] = {}
        super().__init__(config=config)

    def read_options(self, given: dict[str, Any]) -> None:
        """Check the YAML's options once. Raises ValueError naming what is allowed."""
        raise NotImplementedError

    def measure(self) -> Measure:
        """Fresh state that will see this task's pictures."""
        raise NotImplementedError

    def metrics(self) -> dict[str, bool | None]:
        """Name of every metric and whether higher is better; None where neither is."""
        raise NotImplementedError

    def constants(self) -> set[str]:
        """Metrics of the whole set, which every document repeats; they have no standard error over documents."""
        raise NotImplementedError

    def _prepare_metric_and_aggregation(self) -> None:
        self._metric_fn_list = dict.fromkeys(self.metrics())
        self._metric_fn_kwargs: dict[str, dict[str, Any]] = {name: {} for name in self.metrics()}
        self._aggregation_list = {name: get_aggregation("mean") for name in self.metrics()}
        self._aggregation_list |= dict.fromkeys(self.constants(), _same_for_all)
        self._higher_is_better = self.metrics()

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> Instance:
        """One request per document, of our own type; sampling is declared so that no response cache keeps it."""
        _require_writable(getattr(getattr(self, "args", None), "output_path", None))
        split = kwargs["metadata"]["split"]
        arguments = (ctx, {"do_sample": True}, self.doc_to_visual, doc_id, self.config.task, split)
        return Instance(request_type=REQUEST_TYPE, arguments=arguments, idx=0, **kwargs)

    def process_results(
        self, doc: dict[str, Any], results: list[str], full_docs: Any = None
    ) -> dict[str, Any]:
        """The figures that the measurement wrote for this document; empty where its picture was counted already."""
        figures = json.loads(results[0])
        return {} if "error" in figures else figures

    def dump_config(self) -> dict[str, Any]:
        """The configuration and, once measured, the record of the run: the same object, filled in later."""
        dumped = dict(super().dump_config())
        dumped["metadata"] = {**(dumped.get("metadata") or {}), OPTIONS_KEY: self.record}
        return dumped

    def document(self, doc_id: int, split: str) -> Document:
        """Where the measurement finds this document's picture."""
        config = self.config
        parts = (config.dataset_path, config.dataset_name, config.dataset_kwargs, split)
        functions = [getattr(f, "__qualname__", f) for f in (config.process_docs, config.doc_to_visual)]
        source = json.dumps([*parts, *functions], default=str, sort_keys=True)
        label = self._label(doc_id, split)
        return Document(config.task, doc_id, source, lambda: self._picture(doc_id, split), label)

    def _label(self, doc_id: int, split: str) -> str | None:
        return None if self.label is None else str(self.dataset_no_image[split][doc_id][self.label])

    def _picture(self, doc_id: int, split: str) -> Any:
        from PIL import Image

        visuals = self.doc_to_visual(self.dataset[split][doc_id])
        if not visuals or not isinstance(visuals[0], Image.Image):
            raise ValueError(f"the document has no picture: doc_to_visual gave {visuals!r:.80}")
        return visuals[0]


class KnnPreservation(ConnectorTask):
    """`knn_preservation`: how far images keep their nearest neighbours across the connector."""

    def read_options(self, given: dict[str, Any]) -> None:  # noqa: D102
        self.options = preservation_options(given)

    def measure(self) -> Measure:  # noqa: D102
        return PooledPreservation(self.options)

    def metrics(self) -> dict[str, bool | None]:  # noqa: D102
        return metric_names(self.options)

    def constants(self) -> set[str]:  # noqa: D102
        return {*SET_GEOMETRY, "n_images"}


def _same_for_all(values: Sequence[float]) -> float:
    return values[0]


def _require_writable(output_path: str | None) -> None:
    if not output_path:
        return
    try:
        Path(output_path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_path):
            pass
    except OSError as error:
        raise ValueError(
            f"--output_path {output_path} cannot be written: {error}; nothing was measured"
        ) from error


def measure_connector(lm: lmms, requests: list[Instance]) -> list[str]:
    """The request type's method on every model: all of this rank's documents in, one JSON answer each.

    A failure is logged, recorded and answered as an error rather than raised, because the same run may hold hours
    of other tasks' answers that an exception here would lose.
    """
    tasks: dict[str, ConnectorTask] = {r.task_name: r.arguments[2].__self__ for r in requests}
    try:
        figures = _measure(lm, requests, tasks)
    except Exception as error:
        logger.error(f"{', '.join(tasks)} gave no figures. {error}")
        logger.opt(exception=True).debug("where it failed")
        for task in tasks.values():
            task.record.update(error=f"{type(error).__name__}: {error}", **environment())
        return [json.dumps({"error": str(error)})] * len(requests)
    for name, found in figures.items():
        for warning in found.warnings:
            logger.warning(f"{name}: {warning}")
    return [json.dumps(figures[r.task_name].answers[r.doc_id]) for r in requests]


def _measure(lm: lmms, requests: list[Instance], tasks: dict[str, ConnectorTask]) -> dict[str, TaskFigures]:
    adapter = together(lambda: adapter_for(lm))
    has_untrained = adapter.add_untrained(UNTRAINED_SEEDS)
    documents = [tasks[r.task_name].document(r.doc_id, r.metadata["split"]) for r in requests]
    measures = {name: task.measure() for name, task in tasks.items()}
    figures = measure_documents(adapter, documents, measures, batch_size=BATCH_SIZE)
    for name, task in tasks.items():
        task.record.update(connector=asdict(adapter.info), **environment(), **figures[name].summary)
        task.record["untrained_seeds"] = UNTRAINED_SEEDS if has_untrained else ()
    return figures


class ConnectorZoo(lmms):
    """`--model connector_zoo --model_args connector=NAME[,seed=S]`: the embedded models, which run on the CPU.

    `connector` is a name of the zoo, or `package.module:Class` of one's own once it is trained.
    """

    def __init__(
        self, connector: str = "mlp", seed: int = 0, batch_size: int | str = 64, **unused: Any
    ) -> None:
        super().__init__()
        from accelerate import Accelerator

        from connector_bench import zoo

        if unknown := set(unused) - {"device", "max_batch_size"}:
            raise ValueError(f"connector_zoo takes connector and seed, got {', '.join(sorted(unknown))}")
        self.accelerator = Accelerator(cpu=True)
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        self.batch_size_per_gpu = int(batch_size)
        self._model = zoo.load(connector, seed=seed)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """A word for every question; only the first line is the question, the rest is a prompt for other models."""
        from tqdm import tqdm

        from connector_bench.zoo.encoded import encoded

        answers: list[str] = []
        starts = range(0, len(requests), self.batch_size_per_gpu)
        for start in tqdm(starts, desc="Answering", unit="batch", disable=self.rank != 0):
            batch = [request.args for request in requests[start : start + self.batch_size_per_gpu]]
            questions: dict[str, dict[int, str]] = {}
            pictures = {}
            for position, (context, _, to_visual, doc_id, task, split) in enumerate(batch):
                picture = to_visual(self.task_dict[task][split][doc_id])[0]
                name = picture_hash(picture)
                pictures[name] = picture
                questions.setdefault(name, {})[position] = context.split("\n")[0]
            post = self._model.connect(encoded(self._model, list(pictures.values())))
            given = self._model.answer_each(post, [list(asked.values()) for asked in questions.values()])
            placed = zip(
                (p for asked in questions.values() for p in asked), (a for g in given for a in g), strict=True
            )
            answers += [answer for _, answer in sorted(placed)]
        return answers

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered: the zoo answers in words."""
        raise NotImplementedError(
            "connector_zoo has no loglikelihood; use tasks with output_type generate_until"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered: the zoo answers one question at a time."""
        raise NotImplementedError("connector_zoo has no multi-round generation; use tasks of a single round")
