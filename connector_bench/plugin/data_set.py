"""A task of lmms-eval for the pictures of its data set alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from lmms_eval.api.task import ConfigurableMessagesTask
from tenacity import retry_if_not_exception_type

from connector_bench.pictures import reads_column
from connector_bench.run.documents import PictureRows


def column(name: str) -> Callable[[Any], Any]:
    """The `doc_to_visual` that a column's name stands for."""
    return reads_column(name)(lambda document: document[name])


class DataSet(ConfigurableMessagesTask):
    """Another task's data set for its pictures alone; nothing is asked about them."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config=config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None) -> None:
        """As upstream, except that a wrong folder or YAML is named at once: trying again does not mend it."""
        once = super().download.retry_with(retry=retry_if_not_exception_type(ValueError), reraise=True)
        once(self, dataset_kwargs)

    def test_docs(self) -> Any:
        """The rows without their pictures, which only `pictures` decodes: a broken one must not end the run."""
        return self.test_docs_no_media()

    def validation_docs(self) -> Any:
        """As `test_docs`."""
        return self.validation_docs_no_media()

    def _prepare_metric_and_aggregation(self) -> None:
        self._metric_fn_list: dict[str, Any] = {}
        self._metric_fn_kwargs: dict[str, dict[str, Any]] = {}
        self._aggregation_list: dict[str, Any] = {}
        self._higher_is_better: dict[str, bool | None] = {}

    @property
    def split(self) -> str:
        """The split that documents come from."""
        return str(self.config.test_split or self.config.validation_split)

    def pictures(self, split: str) -> PictureRows:
        """A split's documents, as the measurement takes them: made once, since each document asks for them."""
        if split not in self._pictures:
            self._pictures[split] = self._pictures_of(split)
        return self._pictures[split]

    @cached_property
    def _pictures(self) -> dict[str, PictureRows]:
        return {}

    def _pictures_of(self, split: str) -> PictureRows:
        config = self.config
        parts = (config.dataset_path, config.dataset_name, config.dataset_kwargs, split)
        functions = [getattr(f, "__qualname__", f) for f in (config.process_docs, config.doc_to_visual)]
        source = json.dumps([*parts, *functions], default=str, sort_keys=True)
        to_visual = config.doc_to_visual
        return PictureRows(
            self.dataset[split], to_visual if callable(to_visual) else column(to_visual), source
        )
