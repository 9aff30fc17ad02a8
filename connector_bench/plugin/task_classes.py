"""Our task classes: what is measured on a data set's pictures in place of text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.registry import get_aggregation
from loguru import logger

from connector_bench.metrics import of_owner
from connector_bench.pictures import reason
from connector_bench.plugin.data_set import DataSet
from connector_bench.plugin.index import IMAGES_OF, PICTURES, ROWS, borrowed, require_pictures, task_manager
from connector_bench.plugin.refusing import TaskRefused, end_run
from connector_bench.preservation.figures import metric_names as preservation_metrics
from connector_bench.preservation.options import not_a_label, preservation_options
from connector_bench.preservation.pooled import PooledPreservation
from connector_bench.preservation.reference import ReferenceSpace
from connector_bench.preservation.retrieval import caption_of, class_of
from connector_bench.processes import rank_and_size
from connector_bench.reconstruction.config import task_options
from connector_bench.reconstruction.figures import metric_names as reconstruction_metrics
from connector_bench.reconstruction.learning import require_reusable
from connector_bench.run.answers import figure_of_the_set
from connector_bench.run.documents import Document, PictureRows
from connector_bench.run.measurement import Measure
from connector_bench.run.running import Run, output_folder, reconstruction_of
from connector_bench.run.workforce import expect_pictures
from connector_bench.spaces.content import COLUMN, Content
from connector_bench.spaces.opening import opened
from connector_bench.workers import workers_asked

REQUEST_TYPE = "measure_connector"
OPTIONS_KEY = "connector_bench"
PRINTED_ROWS = ("main", "all")
"""What a task's `rows` may be: the figures of `headlines.PRINTED`, or every one. The result file has them all."""
PRINTED_ROWS_ASKED = "CONNECTOR_BENCH_ROWS"
"""The variable that says so for all tasks, whatever their YAML says."""

RUNNING: dict[str, ConnectorTask] = {}
"""Our tasks of the run by name; a rank may have no document of some of them."""


def label_names(given: Any) -> tuple[str, ...]:
    """The columns that `label` names. Raises ValueError where a name has other signs than letters, digits and _."""
    names = () if given is None else (given,) if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(name, str) and re.fullmatch(r"\w+", name) for name in names
    ):
        raise ValueError(
            f"label must be a column or a list of columns, named in letters, digits and _, got {given!r}"
        )
    return tuple(dict.fromkeys(names))


def printed_rows(given: Any) -> str:
    """Which figures lmms-eval prints of a task whose YAML says `given`.

    Raises ValueError where it or the variable is anything but one of `PRINTED_ROWS`.
    """
    asked = os.environ.get(PRINTED_ROWS_ASKED) or given
    for name, rows in (("rows", given), (PRINTED_ROWS_ASKED, asked)):
        if rows not in PRINTED_ROWS:
            raise ValueError(f"{name} must be one of {', '.join(PRINTED_ROWS)}, got {rows!r}")
    return str(asked)


class ConnectorTask(DataSet):
    """A task whose requests measure the connector on each document's picture instead of generating text.

    Subclasses say which measure they want and which metrics it yields. In the YAML, `images_of:` names any
    lmms-eval task whose documents are to be measured, in their order; or data set, split and `doc_to_visual` stand
    there as in any task. Options of the measure stand under `connector_bench:`, beside them `label` (a column with
    each picture's class, or a list of such columns, the one that retrieval is named by first), `captions` (a column
    with each picture's captions), `rows` (which figures lmms-eval prints, `main`
    or `all`) and `leave_out` (a function from a document to why it is not measured, or None).
    """

    MEASURE: str

    def __init__(self, config: dict[str, Any]) -> None:
        try:
            self._make({key: value for key, value in config.items() if key != "class"})
        except ValueError as error:
            raise TaskRefused(f"{config['task']}: {error}") from error

    def _make(self, config: dict[str, Any]) -> None:
        if IMAGES_OF in config:
            rows = {"doc_to_text": "", "doc_to_target": ""}
            task = config.pop(IMAGES_OF)
            config = rows | borrowed(task, (*PICTURES, *ROWS), (config["task"],)) | config
            require_pictures(task, config)
        config["num_fewshot"] = 0  # which tells lmms-eval to leave us out of --num_fewshot
        given = config.pop(OPTIONS_KEY, {})
        if not isinstance(given, Mapping):
            raise ValueError(f"{OPTIONS_KEY} must be a block of options, got {given!r:.80}")
        options = dict(given)
        self.labels = label_names(options.pop("label", None))
        self.captions: str | None = options.pop("captions", None)
        self.rows = printed_rows(options.pop("rows", "main"))
        self.leave_out: Callable[[Any], str | None] | None = options.pop("leave_out", None)
        self.record: dict[str, Any] = {"measure": self.MEASURE}
        self.reference: ReferenceSpace | None = None
        workers_asked()
        self.read_options(options, config)
        expect_pictures()
        super().__init__(config)

    def read_options(self, given: dict[str, Any], config: dict[str, Any]) -> None:
        """Check the options once; `config` is the rest of the YAML. Raises ValueError naming what is allowed."""
        raise NotImplementedError

    def measure(self, run: Run) -> Measure:
        """Fresh state that will see this task's pictures."""
        raise NotImplementedError

    def metrics(self) -> dict[str, bool | None]:
        """Name of every metric and whether higher is better; None where neither is."""
        raise NotImplementedError

    def of_the_set(self) -> set[str]:
        """Metrics that are no mean over documents; lmms-eval gives no standard error for them."""
        raise NotImplementedError

    def _prepare_metric_and_aggregation(self) -> None:
        self._metric_fn_list = dict.fromkeys(self.metrics())
        self._metric_fn_kwargs = {name: {} for name in self.metrics()}
        self._aggregation_list = {name: get_aggregation("mean") for name in self.metrics()}
        self._aggregation_list |= {
            name: partial(figure_of_the_set, self.record, name) for name in self.of_the_set()
        }
        self._higher_is_better = self.metrics()

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> Instance:
        """One request per document, of our own type; sampling is declared so that no response cache keeps it."""
        try:
            _ = self.output
        except ValueError as error:
            end_run(str(error))
        split = kwargs["metadata"]["split"]
        arguments = (ctx, {"do_sample": True}, self.doc_to_visual, doc_id, self.config.task, split)
        return Instance(request_type=REQUEST_TYPE, arguments=arguments, idx=0, **kwargs)

    def build_all_requests(self, **kwargs: Any) -> None:
        """As lmms-eval's; called for every task of a run on every rank, with documents for it or without."""
        self.__dict__.pop("output", None)
        RUNNING[str(self.config.task)] = self
        super().build_all_requests(**kwargs)

    @cached_property
    def output(self) -> Path | None:
        """`--output_path`, which lmms-eval tells a task after it has made it; made once, before anything is measured.

        ValueError where it cannot be written.
        """
        return output_folder(getattr(getattr(self, "args", None), "output_path", None))

    def process_results(
        self, doc: dict[str, Any], results: list[str], full_docs: Any = None
    ) -> dict[str, Any]:
        """The figures that the measurement wrote for this document; empty where there are none."""
        figures = json.loads(results[0])
        return {} if "error" in figures else figures

    def dump_config(self) -> dict[str, Any]:
        """The configuration and, once measured, the record of the run: the same object, filled in later."""
        dumped = dict(super().dump_config())
        dumped["metadata"] = {**(dumped.get("metadata") or {}), OPTIONS_KEY: self.record}
        return dumped

    def document(self, doc_id: int, split: str) -> Document:
        """Where the measurement finds this document's picture."""
        row = self.dataset_no_image[split][doc_id]
        said = {column: class_of(row.get(column)) for column in self.labels}
        if self.captions is not None:
            said[self.captions] = caption_of(row.get(self.captions))
        if isinstance(self.reference, Content):
            said[COLUMN] = self._content(self.reference, row)
        labels = {column: text for column, text in said.items() if text is not None}
        return self.pictures(split).document(self.config.task, doc_id, labels, self._left_out(row))

    def _content(self, content: Content, row: dict[str, Any]) -> str | None:
        try:
            return content.said_of(row)
        except Exception:  # a user's function, which may fail for one document: what is missing is counted
            return None

    def _left_out(self, row: dict[str, Any]) -> str | None:
        try:
            return None if self.leave_out is None else self.leave_out(row)
        except Exception as error:  # a user's function, which may fail for one document
            return f"leave_out raised {reason(error)}"


class KnnPreservation(ConnectorTask):
    """`knn_preservation`: how far images keep their nearest neighbours across the connector."""

    MEASURE = "knn_preservation"

    def read_options(self, given: dict[str, Any], config: dict[str, Any]) -> None:  # noqa: D102
        self.reference = opened(given.pop("reference", None))
        named = {} if self.reference is None else {"reference": self.reference.name}
        self.options = preservation_options(given | named)
        together = self.options.drawn_together
        if together is not None and together not in self.labels:
            raise ValueError(not_a_label(together, self.labels))

    def _make(self, config: dict[str, Any]) -> None:
        super()._make(config)
        together, columns = self.options.drawn_together, self.dataset_no_image[self.split].column_names
        if together is not None and together not in columns:
            raise ValueError(f"no column {together!r} for drawn_together; columns: {', '.join(columns)}")

    def measure(self, run: Run) -> Measure:  # noqa: D102
        columns = self.dataset_no_image[self.split].column_names
        wanted = dict.fromkeys(self.labels, "labels")
        if self.captions is not None:
            wanted[self.captions] = "captions"
        for name, what in wanted.items():
            if name not in columns and rank_and_size()[0] == 0:
                logger.warning(
                    f"{self.config.task}: no column {name!r} for {what}; columns: {', '.join(columns)}"
                )
        folder = run.folder(self.config.task)
        return PooledPreservation(
            self.options,
            folder,
            labels=self.labels,
            captions=self.captions,
            reference=self.reference,
            picture_of=self.pictures(self.split).picture,
            words_of=run.words_of,
        )

    def metrics(self) -> dict[str, bool | None]:  # noqa: D102
        return preservation_metrics(self.options, self.labels[1:], captions=self.captions is not None)

    def of_the_set(self) -> set[str]:  # noqa: D102
        return of_owner(self.metrics(), "set")


class PatchReconstruction(ConnectorTask):
    """`patch_reconstruction`: how much of the encoder's patches the connector's tokens can rebuild, and where."""

    MEASURE = "patch_reconstruction"

    def read_options(self, given: dict[str, Any], config: dict[str, Any]) -> None:  # noqa: D102
        self.options = task_options(given)
        self.training: PictureRows | None = None
        train = self.options.train
        if self.options.probes is not None:
            require_reusable(self.options.probes, self.options.config)
            return
        if train is None:
            return
        if train.documents is not None and train.doc_to_visual is not None:
            self.training = PictureRows(train.documents(), train.doc_to_visual, train.documents.__qualname__)
        else:
            parts = config if train.images_of is None else borrowed(train.images_of, PICTURES)
            kept = {key: parts[key] for key in PICTURES if key in parts and not key.endswith("_split")}
            own = {"task": f"{config['task']}_training", "test_split": train.split}
            own |= {"doc_to_text": "", "doc_to_target": ""} | train.functions()
            self.training = DataSet(kept | own).pictures(str(train.split))

    def measure(self, run: Run) -> Measure:  # noqa: D102
        split = self.split
        return reconstruction_of(
            run,
            self.config.task,
            self.options,
            self.pictures(split),
            self.training,
            lambda number: self.dataset_no_image[split][number],
        )

    def metrics(self) -> dict[str, bool | None]:  # noqa: D102
        return reconstruction_metrics(self.options.config)

    def of_the_set(self) -> set[str]:  # noqa: D102
        return set(self.metrics()) - of_owner(self.metrics(), "question")


def documents_of(task: str, include_path: Path | None = None) -> Callable[[int], Document]:
    """From a document's number to its picture, for one of our tasks, whose data set is loaded as a run would load it.

    Raises ValueError where there is no such task, or it is none of ours.
    """
    manager = task_manager(include_path)
    if task not in manager.task_index:
        raise ValueError(f"there is no task {task}; name its YAML's folder with --include-path")
    found = manager.load_task_or_group(task)[task]
    if not isinstance(found, ConnectorTask):
        raise ValueError(f"{task} is no task that measures a connector")
    return partial(found.document, split=found.split)
