"""Where two fingerprints part, and what it is: rounding, an order of tokens, a layer or a branch left out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from connector_bench.fingerprint.distances import apart, moved, named_order, pooled_apart
from connector_bench.fingerprint.fingerprint_file import FingerprintFile, Stage

Kind = Literal["same", "rounding", "inputs", "order", "layer", "branch", "values"]

ROUNDING = {"float64": 1e-6, "float32": 1e-3, "float16": 0.01, "bfloat16": 0.05}
"""Difference, as a share of a token's usual norm, up to which it is taken for rounding of the coarser side."""
UNKNOWN = "bfloat16"
GROWS, MOST = 6, 5
"""Times by which one stage may make rounding larger, and times the bound above which nothing is rounding."""
CLEARLY = 4
"""Times by which one distance must be below another to say more than it."""


@dataclass(frozen=True)
class StageDifference:
    """One stage of both sides."""

    name: str
    difference: float
    """See `distances.apart`."""
    moved: int
    """Tokens that stand elsewhere, where both sides hold the same ones; else 0."""


@dataclass(frozen=True)
class Verdict:
    """What sets two fingerprints apart."""

    kind: Kind
    first: str | None
    """The stage that differs first, beyond rounding where there is more than that."""
    words: tuple[str, ...]
    """In plain sentences, the main one first."""
    stages: tuple[StageDifference, ...]

    @property
    def alike(self) -> bool:
        """Whether nothing but rounding sets them apart."""
        return self.kind in ("same", "rounding")


def compare(a: FingerprintFile, b: FingerprintFile, names: tuple[str, str] = ("A", "B")) -> Verdict:
    """The verdict on two fingerprints.

    Raises:
        ValueError: they are of other pictures, or share no stage.
    """
    if a.pictures != b.pictures:
        raise ValueError(
            f"{names[0]} and {names[1]} are fingerprints of other pictures; `fingerprint pictures` writes the ones"
        )
    case = _Case(a, b, names)
    if not case.stages:
        raise ValueError(f"{names[0]} and {names[1]} share no stage; `pre` and `post` are needed at least")
    return case.verdict()


@dataclass(frozen=True)
class _Case:
    a: FingerprintFile
    b: FingerprintFile
    names: tuple[str, str]

    @cached_property
    def coarse(self) -> str:
        """The coarser precision of both sides."""
        found = [_precision(side.dtype) for side in (self.a, self.b)]
        return max(found, key=lambda name: ROUNDING[name])

    @property
    def bound(self) -> float:
        """Up to where a difference is rounding."""
        return ROUNDING[self.coarse]

    @cached_property
    def stages(self) -> tuple[StageDifference, ...]:
        """What both sides have."""
        of_b = self.b.named()
        pairs = [(stage, of_b[stage.name]) for stage in self.a.stages if stage.name in of_b]
        return tuple(StageDifference(x.name, apart(x, y), moved(x, y, self.bound)) for x, y in pairs)

    @cached_property
    def layers(self) -> tuple[list[Stage], list[Stage]]:
        """Those of both sides, in order."""
        first, second = (
            [stage for stage in side.stages if stage.name.startswith("layer ")] for side in (self.a, self.b)
        )
        return first, second

    def difference(self, name: str) -> float:
        """Of a stage; 0 where one side has none."""
        return next((one.difference for one in self.stages if one.name == name), 0.0)

    def verdict(self) -> Verdict:
        beyond = self._beyond()
        inputs = beyond is not None and beyond.name == "inputs"
        branch = self._branches()
        also = () if branch is None else (branch[1],)
        if not inputs and (found := self._left_out() or self._ends_early()) is not None:
            return Verdict("layer", found[0], (found[1], *also), self.stages)
        if beyond is not None:
            kind, sentence = self._explained(beyond)
            return Verdict(kind, beyond.name, (sentence, *also), self.stages)
        if branch is not None:
            return Verdict("branch", branch[0], (branch[1], self._rounding()), self.stages)
        first = next((one.name for one in self.stages if one.difference > 0), None)
        return Verdict("same" if first is None else "rounding", first, (self._rounding(),), self.stages)

    def _beyond(self) -> StageDifference | None:
        """The first stage whose difference is no rounding: above the bound, and not grown from one before it."""
        before = 0.0
        for one in self.stages:
            grown = one.difference <= GROWS * before and one.difference <= MOST * self.bound
            if one.moved or (one.difference > self.bound and not grown):
                return one
            before = max(before, one.difference)
        return None

    def _explained(self, beyond: StageDifference) -> tuple[Kind, str]:
        name, (one, other) = beyond.name, self.names
        much = f"{beyond.difference:.2g} of a token's norm"
        here = self.a.named()[name], self.b.named()[name]
        if math.isinf(beyond.difference):
            shapes = [[f"{values.rows} x {values.width}" for values in stage.pictures] for stage in here]
            place = next((n for n, (x, y) in enumerate(zip(*shapes, strict=True)) if x != y), 0)
            return "inputs" if name == "inputs" else "values", (
                f"{name} is of another shape: picture {place + 1} has {shapes[0][place]} (tokens x values) in {one} "
                f"and {shapes[1][place]} in {other}"
            )
        if beyond.moved:
            order = named_order(*here, self.bound) or "another order"
            return "order", (
                f"{name} holds the same tokens in {order}: {beyond.moved} tokens of the marked pictures stand "
                "elsewhere. Pooled they agree: overlap of neighbours does not tell, maps and per-cell probes are wrong"
            )
        if name == "inputs":
            return "inputs", f"the processors give other inputs: they differ by {much}"
        if name.startswith("layer "):
            return "layer", self._other_layer(int(name.removeprefix("layer ")), much)
        return "values", f"{name} is the first stage that differs, by {much}, which is no rounding"

    def _other_layer(self, number: int, much: str) -> str:
        before = f"layer {number - 1}" if number > 1 else "embeddings"
        agree = f"up to {before} they agree"
        for name, side in zip(self.names, (self.a, self.b), strict=True):
            stages = side.named()
            if before in stages and apart(stages[before], stages[f"layer {number}"]) == 0:
                return f"layer {number} does nothing in {name}: it is left out; {agree}"
        return f"layer {number} computes something else ({much}); {agree}"

    def _left_out(self) -> tuple[str, str] | None:
        """The layer where one side has fewer, and a sentence; None where the last ones are left out without effect."""
        counts = [len(layers) for layers in self.layers]
        if not all(counts) or counts[0] == counts[1]:
            return None
        more, fewer = sorted(range(2), key=lambda side: -counts[side])
        full, short = self.layers[more], self.layers[fewer]
        gap = len(full) - len(short)

        def cost(first: int) -> float:
            shifted = full[:first] + full[first + gap :]
            return sum(min(pooled_apart(x, y), 10.0) for x, y in zip(shifted, short, strict=True))

        where = min(range(len(short) + 1), key=cost)
        sides = max(self.difference("pre"), self.difference("post"))
        if where == len(short) and sides <= self.bound and self._ends_early() is None:
            return None
        which = f"layer {where + 1}" if gap == 1 else f"layers {where + 1} to {where + gap}"
        agree = f"up to {'layer ' + str(where) if where else 'embeddings'} they agree"
        return f"layer {where + 1}", (
            f"{self.names[fewer]} has {len(short)} layers and {self.names[more]} {len(full)}: {which} of "
            f"{self.names[more]} {'is' if gap == 1 else 'are'} left out; {agree}"
        )

    def _ends_early(self) -> tuple[str, str] | None:
        """Where one side's connector receives what the other has behind an earlier layer."""
        sides = ((1, self.a, self.b), (0, self.b, self.a))
        for shorter, full, short in sides:
            if "pre" not in full.named() or "pre" not in short.named():
                continue
            received, own = short.named()["pre"], full.named()["pre"]
            layers = [stage for stage in full.stages if stage.name.startswith("layer ")]
            for stage in layers:
                gap = pooled_apart(stage, received)
                expected = pooled_apart(stage, own)
                if gap <= self.bound and gap * CLEARLY < min(pooled_apart(own, received), expected):
                    name, other = self.names[shorter], self.names[1 - shorter]
                    return "pre", (
                        f"the connector of {name} receives what {other} has behind {stage.name} of {len(layers)}: "
                        f"what comes behind it is left out in {name}"
                    )
        return None

    def _branches(self) -> tuple[str, str] | None:
        """The first branch beside the connector that one side lacks or leaves at zero, and a sentence on them."""

        def held(side: FingerprintFile) -> list[str]:
            found = [stage for stage in side.stages if stage.name.startswith("post of branch")]
            return [stage.name for stage in found if any(values.rms > 0 for values in stage.pictures)]

        by_name = dict(zip(self.names, (held(self.a), held(self.b)), strict=True))
        for lacking, having in (self.names, self.names[::-1]):
            if missing := [name for name in by_name[having] if name not in by_name[lacking]]:
                return missing[0], (
                    f"{lacking} leaves out deepstack: {len(missing)} of {len(by_name[having])} branches beside the "
                    f"main connector, which {having} has, are not there or zero"
                )
        return None

    def _rounding(self) -> str:
        differing = [one for one in self.stages if one.difference > 0]
        if not differing:
            return "no stage that both have differs"
        first, most = differing[0], max(differing, key=lambda one: one.difference)
        return (
            f"rounding: no stage differs by more than {self.coarse} rounds; the first that differs is {first.name} "
            f"({first.difference:.2g} of a token's norm), most does {most.name} ({most.difference:.2g})"
        )


def _precision(dtype: str | None) -> str:
    """The part of a precision's words that says what is computed in."""
    return next((name for name in ROUNDING if dtype is not None and dtype.startswith(name)), UNKNOWN)


__all__ = ["Kind", "StageDifference", "Verdict", "compare"]
