# SPDX-License-Identifier: Apache-2.0
"""How long loads will take, and warnings that do not flood: by numbers alone, no daemon."""

from __future__ import annotations

import logging

import pytest
from kvgate.vllm.forecast import LoadForecast
from kvgate.vllm.seldom import SeldomLog

MIB = 1 << 20


def test_until_a_load_was_measured_the_gateways_word_counts() -> None:
    assert LoadForecast(MIB, "local").ms({"memory": 64}, gateway_ms=6.4) == 6.4


def test_over_grpc_the_answers_way_is_added() -> None:
    way = 64 * MIB / 500e3  # what the gateway keeps back of a deadline
    assert LoadForecast(MIB, "grpc").ms({"disk": 64}, 70) == pytest.approx(70 + way)


def test_one_load_tells_what_the_next_one_will_take() -> None:
    forecast = LoadForecast(MIB, "local")
    forecast.learn({"memory": 100}, 201.0, late=False)
    assert forecast.ms({"memory": 100}, 10) == pytest.approx(201)
    assert forecast.ms({"memory": 50}, 5) == pytest.approx(101)
    assert forecast.ms({"disk": 50}, 80) == 80  # nothing is known of the disk


def test_it_is_never_below_what_the_gateway_says() -> None:
    forecast = LoadForecast(MIB, "local")
    forecast.learn({"disk": 100}, 50.0, late=False)
    assert forecast.ms({"disk": 100}, gateway_ms=400) == 400  # its disk has a queue


def test_it_follows_the_machine_in_both_directions() -> None:
    forecast, blocks = LoadForecast(MIB, "local"), {"memory": 100}
    forecast.learn(blocks, 20.0, late=False)
    for _ in range(40):
        forecast.learn(blocks, 80.0, late=False)
    assert forecast.ms(blocks, 0) == pytest.approx(80, rel=0.05)
    for _ in range(60):
        forecast.learn(blocks, 20.0, late=False)
    assert forecast.ms(blocks, 0) == pytest.approx(20, rel=0.05)


def test_long_and_short_loads_tell_the_fixed_part_from_the_blocks() -> None:
    forecast = LoadForecast(MIB, "local")
    for _ in range(200):
        forecast.learn({"memory": 200}, 10 + 200 * 0.5, late=False)
        forecast.learn({"memory": 2}, 10 + 2 * 0.5, late=False)
    assert forecast.ms({"memory": 100}, 0) == pytest.approx(60, rel=0.1)
    assert forecast.ms({"memory": 2}, 0) == pytest.approx(11, rel=0.2)


def test_a_load_of_both_tiers_teaches_both() -> None:
    forecast = LoadForecast(MIB, "local")
    forecast.learn({"memory": 100}, 21.0, late=False)
    forecast.learn({"memory": 100, "disk": 100}, 221.0, late=False)
    assert forecast.ms({"disk": 100}, 0) == pytest.approx(201)
    assert forecast.ms({"memory": 100}, 0) == pytest.approx(21)


@pytest.mark.parametrize("known_ms", [None, 20.0, 150.0])
def test_after_a_late_load_the_next_one_has_at_least_the_time_of_the_late_one(
    known_ms: float | None,
) -> None:
    forecast, blocks = LoadForecast(MIB, "local"), {"disk": 100}
    if known_ms is not None:
        forecast.learn(blocks, known_ms, late=False)
    late_ms = 2 * forecast.ms(blocks, 10) + 50
    for _ in range(3):  # one load counts for four times its forecast at most
        forecast.learn(blocks, late_ms, late=True)
    assert forecast.ms(blocks, 10) >= late_ms * 0.99


def test_a_late_load_that_had_less_than_its_forecast_says_nothing() -> None:
    forecast, blocks = LoadForecast(MIB, "local"), {"disk": 100}
    forecast.learn(blocks, 100.0, late=False)
    forecast.learn(blocks, 30.0, late=True)  # cut off by the time that computing takes
    assert forecast.ms(blocks, 0) == pytest.approx(100)


def test_a_machine_that_stood_still_once_is_no_slow_machine() -> None:
    forecast, blocks = LoadForecast(MIB, "local"), {"memory": 100}
    forecast.learn(blocks, 20.0, late=False)
    forecast.learn(blocks, 60_000.0, late=False)
    assert forecast.ms(blocks, 0) < 50


def test_a_forecast_that_keeps_loads_away_fades() -> None:
    forecast, blocks = LoadForecast(MIB, "local"), {"memory": 100}
    forecast.learn(blocks, 1000.0, late=False)
    for _ in range(30):
        forecast.fade()
    assert forecast.ms(blocks, 0) < 100


def test_a_load_of_nothing_teaches_nothing() -> None:
    forecast = LoadForecast(MIB, "local")
    forecast.learn({}, 500.0, late=True)
    forecast.learn({"memory": 0}, 500.0, late=False)
    assert forecast.ms({"memory": 1}, 2) == 2


def test_a_warning_of_a_kind_is_logged_once_in_its_time(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    log = SeldomLog(logging.getLogger("seldom"), interval_s=60, clock=lambda: now)
    for count in range(3):
        log.warning("a", "lost %d", count)
    log.warning("b", "another kind")
    now += 60
    log.warning("a", "lost %d", 3)
    assert [record.getMessage() for record in caplog.records] == [
        "lost 0",
        "another kind",
        "lost 3 (2 more since the last such line)",
    ]
