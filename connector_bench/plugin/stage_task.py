"""`connector_stages`: what is read before the connector and behind it, beside what the model answers in one run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from lmms_eval.api.registry import get_aggregation
from loguru import logger

from connector_bench.metrics import of_owner
from connector_bench.plugin.run_tasks import OF_THE_RUN, answered_rightly, rows_of
from connector_bench.plugin.task_classes import ConnectorTask
from connector_bench.processes import rank_and_size
from connector_bench.run.documents import PictureRows
from connector_bench.run.measurement import Measure
from connector_bench.run.running import Run
from connector_bench.run.stage_training import stages_of
from connector_bench.stages.scene_questions import StageQuestion
from connector_bench.stages.stage_figures import GAP, MODEL, RIGHT, metric_names, model_scores, of_kind
from connector_bench.stages.stage_learner import SIDES
from connector_bench.stages.stage_options import stage_options
from connector_bench.stats.intervals import plain

Item = Mapping[str, Any]
"""One question in lmms-eval's hands: `score`, and what the aggregate of all ranks needs beside it."""
Asked = tuple[str, StageQuestion]
"""An image and what is asked about it."""


class ConnectorStages(ConnectorTask):
    """`connector_stages`: readers of one size answer the documents' questions from both sides of the connector.

    Where the run holds the task of `answered_by` as well, the model's own answers to the same documents are set
    beside them.
    """

    MEASURE = "connector_stages"

    def read_options(self, given: dict[str, Any], config: dict[str, Any]) -> None:  # noqa: D102
        self.options = stage_options(given)
        train = self.options.train
        assert train.documents is not None
        assert train.doc_to_visual is not None
        self.training = PictureRows(train.documents(), train.doc_to_visual, train.documents.__qualname__)
        self._right: dict[Asked, float] = {}

    def measure(self, run: Run) -> Measure:  # noqa: D102
        split = self.split
        return stages_of(
            run,
            self.config.task,
            self.options,
            self.training,
            lambda number: self.dataset_no_image[split][number],
        )

    def metrics(self) -> dict[str, bool | None]:  # noqa: D102
        return metric_names(self.options.config.kinds)

    def of_the_set(self) -> set[str]:  # noqa: D102
        return of_owner(self.metrics(), "set")

    def _prepare_metric_and_aggregation(self) -> None:
        super()._prepare_metric_and_aggregation()
        for kind in self.options.config.kinds:
            self._aggregation_list[of_kind(RIGHT, kind)] = self._mean_score
            self._aggregation_list[of_kind(MODEL, kind)] = partial(self._beside_the_model, kind)

    @staticmethod
    def _mean_score(items: Sequence[Item]) -> float:
        return float(get_aggregation("mean")([one["score"] for one in items]))

    def _beside_the_model(self, kind: str, items: Sequence[Item]) -> float:
        """The mean of all ranks' questions; with its interval it goes into the record, as the model's accuracy does."""
        right, pre, post = (
            np.array([float(one[name]) for one in items]) for name in ("right", "pre", "post")
        )
        scores = self.record.setdefault("scores", {})
        chance = (scores.get(of_kind("acc_post", kind)) or {}).get("chance")
        images = [str(one["image"]) for one in items]
        found = model_scores(right, {"pre": pre, "post": post}, images, kind, chance)
        scores.update({name: plain(score) for name, score in found.items()})
        if found[of_kind(GAP, kind)].low > 0:
            self._say(
                f"the model answers more questions of {kind} than either reader does from its tokens: what the encoder "
                "loses is at most what the model answers wrongly"
            )
        return found[of_kind(MODEL, kind)].value

    def apply_filters(self) -> Any:
        """As lmms-eval's, called once all requests of the run are answered; then the model's own answers are read."""
        found = super().apply_filters()
        self._right = self._model_answers()
        return found

    def _model_answers(self) -> dict[Asked, float]:
        """Whether the model's own answer is right, of this rank's questions; empty where the run does not say."""
        name = self.options.answered_by
        if name is None or "error" in self.record:
            return {}
        other = OF_THE_RUN.find(name)
        if other is None:
            self._say(
                f"no task {name} in this run, so nothing is said of the language model: name both tasks"
            )
            return {}
        found: dict[Asked, float] = {}
        try:
            right, rows, others = answered_rightly(other), rows_of(self), rows_of(other)
            for one in self.instances:
                image = json.loads(one.resps[0]).get("image")
                if image is None or one.doc_id not in right:
                    continue
                question = self.options.question_of(rows[one.doc_id])
                if question != self.options.question_of(others[one.doc_id]):
                    raise ValueError(f"its document {one.doc_id} is another question")
                found[image, question] = right[one.doc_id]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._say(
                f"the answers of {name} cannot be set beside these questions, so nothing is said of the language "
                f"model: {type(error).__name__}: {error}"
            )
            return {}
        self.record["answered_by"] = name
        return found

    def _say(self, text: str) -> None:
        if rank_and_size()[0] == 0:
            logger.warning(f"{self.config.task}: {text}")

    def process_results(
        self, doc: dict[str, Any], results: list[str], full_docs: Any = None
    ) -> dict[str, Any]:
        """The readers' figures of this document, and those beside the model's answer where that is known."""
        figures = super().process_results(doc, results, full_docs)
        question = self.options.question_of(doc)
        pre, post = (figures.get(of_kind(f"acc_{side}", question.kind)) for side in SIDES)
        right = self._right.get((figures.get("image", ""), question))
        if pre is None or post is None or right is None:
            return figures
        whole = {"image": figures["image"], "right": right, "pre": pre, "post": post}
        return figures | {
            of_kind(RIGHT, question.kind): {"score": right, **whole},
            of_kind(MODEL, question.kind): {"score": post - right, **whole},
        }
