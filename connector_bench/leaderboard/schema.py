"""What the leaderboard keeps of a run: one small, validated, versioned JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

SCHEMA_VERSION = 1

Name = str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Figure(_Frozen):
    """One metric of one task, with what is known of its uncertainty."""

    value: FiniteFloat
    stderr: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    chance: FiniteFloat | None = None
    higher_is_better: bool | None = None


class Comparable(_Frozen):
    """What two results of one task must share to stand in one column."""

    n: int = Field(ge=1)
    images_sha256: str | None = None
    protocol: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    version: str | None = None


class TaskResult(_Frozen):
    """One task's metrics in one run."""

    comparable: Comparable
    figures: dict[Name, Figure] = Field(min_length=1)


class Connector(_Frozen):
    """The connector whose loss was measured."""

    model: str
    family: str
    connector: str
    modules: tuple[str, ...]
    parameters: int = Field(ge=0)
    dtype: str
    weights_sha256: str
    assumptions: tuple[str, ...] = ()


class Run(_Frozen):
    """One run of lmms-eval on one model."""

    schema_version: Literal[1] = 1
    model: Name = Field(min_length=1, max_length=300)
    date: str
    connector: Connector | None = None
    tasks: dict[Name, TaskResult] = Field(min_length=1)
    versions: dict[str, str | None] = Field(default_factory=dict)
    hardware: str | None = None
    seeds: dict[str, int | None] = Field(default_factory=dict)
