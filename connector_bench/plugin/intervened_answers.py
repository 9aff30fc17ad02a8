"""Answers of a model whose connector's tokens are changed while it generates them, for any task that generates text.

The environment or a task's own YAML asks for it. The documents of such a task are asked about one at a time, so that it
is known whose tokens pass the connector, and no figure depends on the size of batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from os import environ
from typing import TYPE_CHECKING, Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.api.task import Task
from lmms_eval.protocol import ChatMessages
from loguru import logger

from connector_bench.connectors import adapter_for
from connector_bench.connectors.base import ConnectorAdapter
from connector_bench.interventions.intervention import IN_A_TASK, VARIABLE, Intervention, asked_intervention
from connector_bench.pictures import picture_hash
from connector_bench.plugin.task_classes import ConnectorTask
from connector_bench.processes import error_text, gather_all, on_every_rank, watched
from connector_bench.progress import lone_bar, other_bars_hidden
from connector_bench.results.file_schema import INTERVENED_KEY
from connector_bench.run.intervened_pictures import IntervenedPictures, Losses

if TYPE_CHECKING:
    from PIL.Image import Image

GENERATES = "generate_until"


@dataclass
class _Run:
    """The latest model that lmms-eval has made, and the tasks of its run whose answers are intervened on."""

    model: lmms | None = None
    tasks: dict[str, Intervention] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    losses: Losses = field(default_factory=dict)


_run = _Run()
_wrapped: list[bool] = []


def intervene_on_answers() -> None:
    """Let models that lmms-eval makes answer with changed tokens where that is asked for, and results say so."""
    if _wrapped:
        return
    _wrapped.append(True)
    made, dumped, built = (
        lmms.__dict__["create_from_arg_string"].__func__,
        Task.dump_config,
        Task.build_all_requests,
    )

    @wraps(made)
    def create_from_arg_string(cls: Any, *args: Any, **options: Any) -> Any:
        global _run
        _run = _Run()
        _or_end(_of_environment)
        _run.model = made(cls, *args, **options)
        return _run.model

    @wraps(dumped)
    def dump_config(self: Any) -> dict[str, Any]:
        config = dict(dumped(self))
        asked = _or_end(lambda: _asked_of(self))
        return (
            config if asked is None else config | {INTERVENED_KEY: _record_of(str(self.config.task), asked)}
        )

    @wraps(built)
    def build_all_requests(self: Any, *args: Any, **options: Any) -> None:
        asked = _or_end(lambda: _asked_of(self))
        if asked is not None:
            _or_end(lambda: _arm(self, asked))
        built(self, *args, **options)

    lmms.create_from_arg_string = classmethod(create_from_arg_string)
    Task.dump_config, Task.build_all_requests = dump_config, build_all_requests


def refuse_unused() -> None:
    """End the run where the environment asks for an intervention and no task of it answers anything."""
    if _of_environment() is not None and not _run.tasks:
        _end(f"{VARIABLE} changes answers, and no task of this run generates any: nothing was measured")


def _of_environment() -> Intervention | None:
    said = environ.get(VARIABLE, "").strip()
    return asked_intervention(said, VARIABLE) if said else None


def _asked_of(task: Any) -> Intervention | None:
    """What a task's YAML asks for, else the environment; nothing for tasks that measure the connector as it is."""
    if isinstance(task, ConnectorTask):
        return None
    metadata = task.config.metadata
    own = metadata.get(IN_A_TASK) if isinstance(metadata, dict) else None
    if own is not None:
        return asked_intervention(own, f"{IN_A_TASK} of {task.config.task}")
    return _of_environment()


def _record_of(name: str, asked: Intervention) -> dict[str, Any]:
    """What the result file says of it: one object, filled in once the task is answered."""
    return _run.records.setdefault(name, {"said": asked.said, **asked.as_record()})


def _arm(task: Any, asked: Intervention) -> None:
    name = str(task.config.task)
    if task.OUTPUT_TYPE != GENERATES:
        raise ValueError(
            f"{name} has output_type {task.OUTPUT_TYPE}, and an intervention is on tasks that generate text "
            f"({GENERATES})"
        )
    if getattr(getattr(task, "args", None), "use_cache", None):
        raise ValueError(
            "--use_cache keeps answers by their question, and with an intervention they depend on the other pictures "
            "of the run: leave it out"
        )
    if _run.model is None:
        raise ValueError(
            "the model was not made by lmms-eval itself, so that its answers cannot be intervened on"
        )
    _run.tasks[name] = asked
    if GENERATES not in vars(_run.model):
        model, original = _run.model, _run.model.generate_until

        def generate_until(requests: list[Instance]) -> list[Any]:
            if not all(hasattr(request, "task_name") for request in requests):
                return original(
                    requests
                )  # a wrapper that is asked for single tokens while tokens are looked at
            with watched():
                answers: list[Any] = _or_end(lambda: _answers(model, original, requests))
                return answers

        object.__setattr__(model, GENERATES, generate_until)


def _answers(
    model: lmms, original: Callable[[list[Instance]], list[Any]], requests: Sequence[Instance]
) -> list[Any]:
    """Answers to all requests in their order, those of tasks that are not intervened on as ever."""
    others = [number for number, request in enumerate(requests) if request.task_name not in _run.tasks]
    found: dict[int, Any] = {}
    if others:
        found |= dict(zip(others, original([requests[number] for number in others]), strict=True))
    adapter = on_every_rank(lambda: adapter_for(model))
    for name in _run.tasks:
        numbers = [number for number, request in enumerate(requests) if request.task_name == name]
        found |= zip(
            numbers, _answered(model, adapter, name, [requests[n] for n in numbers], original), strict=True
        )
    return [found[number] for number in range(len(requests))]


def _answered(
    model: lmms,
    adapter: ConnectorAdapter,
    name: str,
    requests: Sequence[Instance],
    original: Callable[[list[Instance]], list[Any]],
) -> list[Any]:
    """Answers to the requests of one task, of which another process has as many or none."""
    task = on_every_rank(lambda: _IntervenedTask(model, adapter, name, requests))
    return on_every_rank(lambda: task.answers(original))


class _IntervenedTask:
    """One task's requests on this process, whose pictures have been looked at."""

    def __init__(
        self, model: lmms, adapter: ConnectorAdapter, name: str, requests: Sequence[Instance]
    ) -> None:
        self.model, self.adapter, self.name, self.requests = model, adapter, name, requests
        self.shown: list[tuple[str, ...]] = []
        first: dict[str, tuple[int, int]] = {}
        for number, request in enumerate(lone_bar(requests, f"{name}: looking at pictures")):
            names = tuple(map(picture_hash, self._pictures_of(request)))
            self.shown.append(names)
            for place, picture in enumerate(names):
                first.setdefault(picture, (number, place))

        def shown_by(number: int, place: int) -> Callable[[], Image]:
            return lambda: self._pictures_of(requests[number])[place]

        self.asked = _run.tasks[name]
        self.pictures = IntervenedPictures(
            adapter, self.asked, {picture: shown_by(*where) for picture, where in first.items()}, _run.losses
        )
        with other_bars_hidden():
            _ = self.pictures.statistics, self.pictures.probes

    def answers(self, original: Callable[[list[Instance]], list[Any]]) -> list[Any]:
        """One a request."""
        found, tokens, changed = [], 0, 0
        with other_bars_hidden():
            for request, names in zip(
                lone_bar(self.requests, f"{self.name}: {self.asked.said}"), self.shown, strict=True
            ):
                try:
                    rewritten = [
                        self.pictures.rewritten(name, picture, self._document(request))
                        for name, picture in zip(names, self._pictures_of(request), strict=True)
                    ]
                    if not rewritten:
                        found += original([request])
                        continue
                    with self.adapter.rewriting(rewritten) as counted:
                        found += original([request])
                except ValueError as error:
                    raise ValueError(f"document {request.doc_id} of {self.name}: {error}") from error
                tokens, changed = tokens + counted.tokens, changed + counted.changed
        self._note(tokens, changed)
        return found

    def _note(self, tokens: int, changed: int) -> None:
        counts = gather_all((len(self.requests), tokens, changed, sorted({n for s in self.shown for n in s})))
        statistics, probes = self.pictures.statistics, self.pictures.probes
        documents, tokens, changed = (sum(part[place] for part in counts) for place in range(3))  # type: ignore[misc]
        self.record.update(
            documents=documents,
            pictures=len({name for part in counts for name in part[3]}),
            tokens=tokens,
            changed=changed / tokens if tokens else 0.0,
        )
        if statistics is not None:
            self.record["statistics_of_pictures"] = statistics.pictures
        if probes is not None:
            self.record["loss_of"] = probes.learning_curve.best

    @property
    def record(self) -> dict[str, Any]:
        """What the result file will say."""
        return _run.records[self.name]

    def _document(self, request: Instance) -> Any:
        number, task, split = request.args[3:6]
        return self.model.task_dict[task][split][number]

    def _pictures_of(self, request: Instance) -> list[Image]:
        """The pictures that the wrapper will show, as RGB. ValueError where the document shows anything else."""
        from PIL import Image

        document, second = self._document(request), request.args[1]
        if callable(second):
            shown, *others = ChatMessages(messages=second(document)).extract_media()
            visuals = [*shown, *(one for other in others for one in other)]
        else:
            visuals = request.args[2](document) or []
        strange = next((one for one in visuals if not isinstance(one, Image.Image)), None)
        if strange is not None:
            raise ValueError(
                f"document {request.doc_id} of {self.name} shows a {type(strange).__name__}; interventions are on "
                "pictures"
            )
        return [one if one.mode == "RGB" else one.convert("RGB") for one in visuals]


def _or_end(work: Callable[[], Any]) -> Any:
    """End the run with one sentence: lmms-eval answers an exception with a traceback and the status of success."""
    try:
        return work()
    except Exception as error:
        logger.opt(exception=True).debug("where it failed")
        _end(
            f"no answers were intervened on: {error if isinstance(error, (ValueError, OSError)) else error_text(error)}"
        )


def _end(why: str) -> None:
    logger.error(why)
    raise SystemExit(1)
