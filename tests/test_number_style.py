"""One style of numbers: what is read in tables, sentences and on the page."""

from __future__ import annotations

import math

import pytest

from connector_bench.number_style import counted, difference, number, signed, span, with_interval


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.70149, "0.701"),
        (-0.0001, "0.000"),
        (-0.25, "−0.250"),
        (9.99951, "10.00"),
        (42.318, "42.32"),
        (312.47, "312.5"),
        (12345.6, "12,346"),
        (1e-12, "0.000"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_a_number_has_three_decimals_or_four_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        ((0.701, 0.690, 0.712), "0.701 ±.011"),
        ((0.701, 0.690, 0.7130), "0.701 ±.012"),
        ((0.701, 0.690, 0.731), "0.701 +.030 −.011"),
        ((0.0, 0.0, 1e-9), "0.000 ±.000"),
        ((1.0, 0.9959, 1.0), "1.000 −.004"),
        ((42.318, 40.0, 44.6), "42.32 ±2.32"),
        ((12345.0, 12000.0, 12700.0), "12,345 ±355"),
        ((0.5, None, 0.6), "0.500"),
        ((0.5, math.nan, math.nan), "0.500"),
        ((None, 0.1, 0.2), "–"),
        ((0.5, 0.6, 0.7), "0.500 +.200"),
    ],
)
def test_a_figure_has_its_interval_beside_it(figure: tuple, shown: str) -> None:
    assert with_interval(*figure) == shown


def test_what_is_a_bound_says_so_before_the_figure() -> None:
    assert with_interval(0.27, 0.267, 0.273, "at most") == "≤ 0.270 ±.003"
    assert number(0.73, "at least") == "≥ 0.730"


def test_a_difference_has_a_sign_unless_nothing_is_left_of_it() -> None:
    assert difference(0.012, 0.004, 0.020) == "+0.012 ±.008"
    assert difference(-0.4, -0.5, -0.3) == "−0.400 ±.100"
    assert (signed(0.0001), signed(0.0), signed(-0.0001), signed(None)) == ("0.000", "0.000", "0.000", "–")
    assert signed(1234567.0) == "+1,234,567"


def test_a_span_needs_both_ends() -> None:
    assert span(0.453, 0.7) == "0.453 to 0.700"
    assert span(0.453, None) == "–"


def test_what_is_counted_is_one_or_many() -> None:
    assert [counted(n, "model") for n in (0, 1, 1024)] == ["0 models", "1 model", "1,024 models"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
