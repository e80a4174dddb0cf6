from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.report import svg, wording
from earnest.report.svg import Scale

finite = st.floats(-1e12, 1e12)


@given(st.floats(0, 1), st.floats(1e-6, 0.5))
def test_a_score_is_rounded_and_nothing_else(value: float, half_width: float) -> None:
    text = wording.score("accuracy", value, half_width)
    decimals = len(text.removesuffix("%").partition(".")[2])
    assert 1 <= decimals <= 2
    assert abs(float(text.removesuffix("%")) - 100 * value) <= 0.5000001 * 10**-decimals


@given(finite, st.floats(1e-5, 1e9))
def test_digits_follow_the_interval(value: float, half_width: float) -> None:
    text = wording.score("rmse", value, half_width).replace(",", "").replace("−", "-")
    decimals = len(text.partition(".")[2])
    assert abs(float(text) - value) <= 0.5000001 * 10**-decimals + 1e-9 * abs(value)
    assert 10**-decimals <= max(half_width, 1.0) if decimals == 0 else 10 ** -(decimals - 1) <= half_width * 10


@given(finite)
def test_number_keeps_four_digits(value: float) -> None:
    text = wording.number(value).replace(",", "").replace("−", "-")
    assert math.isclose(float(text), value, rel_tol=0.0051, abs_tol=1e-300)


def test_times_are_said_as_people_say_them() -> None:
    said = [wording.duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.6, 60, 200, 3599.7, 7500, None)]
    assert said == ["0.0 s", "9.9 s", "10 s", "1 min", "1 min", "3 min 20 s", "1 h", "2 h 5 min", "–"]


@pytest.mark.parametrize(
    ("p_value", "expected"), [(0.0, "p < 0.001"), (0.0133, "p = 0.013"), (0.24, "p = 0.24"), (1.0, "p = 1.00")]
)
def test_a_p_value_is_never_zero(p_value: float, expected: str) -> None:
    assert wording.probability(p_value) == expected


def test_a_difference_has_its_sign_and_unit() -> None:
    assert (
        wording.difference("accuracy", {"value": 0.0222, "low": 0.0041, "high": 0.0403}) == "+2.2 points (+0.4 to +4.0)"
    )
    assert wording.difference("rmse", {"value": -300.4, "low": -812.0, "high": 204.1}) == "−300 (−812 to +204)"


@given(finite, st.floats(1e-6, 1e9))
def test_ticks_are_round_inside_and_told_apart(low: float, span: float) -> None:
    scale = Scale(low, low + max(span, 1e-6 * abs(low)))
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 5
    slack = 1e-9 * max(abs(scale.low), abs(scale.high))
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in ticks)
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)


@given(st.floats(-500, 500), st.floats(1e-2, 1e3))
def test_tick_labels_say_what_the_ticks_are(low: float, span: float) -> None:
    ticks = Scale(low, low + span).ticks()
    step = ticks[1] - ticks[0] if len(ticks) > 1 else span
    labels = [svg.tick_label(tick, step).replace(",", "").replace("−", "-") for tick in ticks]
    assert len(set(labels)) == len(labels)
    if len(ticks) > 1:
        assert all(abs(float(label) - tick) < step / 100 for label, tick in zip(labels, ticks, strict=True))
