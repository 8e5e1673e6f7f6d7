# SPDX-License-Identifier: Apache-2.0
"""What the scheduler's side promises, one fact each, in vLLM's order of calls."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator

import pytest
from conftest import Daemon
from driver import BLOCK, Driver, Spy
from engine import prompt
from kvgate import Advice, Hints
from kvgate.vllm.messages import LoadTime, WorkerReport
from vllm.lora.request import LoRARequest


@pytest.fixture
def driver(daemon: Daemon) -> Iterator[Driver]:
    made = Driver(daemon.local_socket)
    yield made
    made.close()


def stored(driver: Driver, blocks: int = 6, seed: int = 1) -> list[int]:
    """Token ids of a prompt whose full blocks the daemon holds."""
    ids = prompt(blocks * BLOCK, seed)
    driver.compute(driver.request(f"stored-{seed}", ids), list(range(1, blocks + 1)), seed)
    assert driver.counts()["saved_blocks"] >= blocks
    return ids


# ---- claims -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("extra", "blocks"), [(-1, 5), (0, 5), (1, 6), (31, 6)])
def test_a_claim_leaves_the_last_token_to_the_engine(
    driver: Driver, extra: int, blocks: int
) -> None:
    ids = stored(driver) + [7] * 31
    request = driver.request("r", ids[: 6 * BLOCK + extra])
    assert driver.ask(request) == (blocks * BLOCK, True)


def test_the_engines_own_hit_is_not_claimed(driver: Driver) -> None:
    request = driver.request("r", [*stored(driver), 7])
    assert driver.ask(request, local_tokens=2 * BLOCK) == (4 * BLOCK, True)
    assert driver.ask(request, local_tokens=6 * BLOCK) == (0, False)


def test_the_engines_own_hit_is_no_part_of_what_is_to_load(driver: Driver) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request, local_tokens=2 * BLOCK)
    assert driver.scheduler._states["r"].claim.blocks == {"memory": 4}
    driver.ask(request)
    assert driver.scheduler._states["r"].claim.blocks == {"memory": 6}


def test_nothing_is_claimed_where_loading_is_slower(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    real = driver.client.lookup
    monkeypatch.setattr(
        driver.client, "lookup", lambda *a, **k: real(*a, **k)._replace(advice=Advice.RECOMPUTE)
    )
    unpins = Spy(driver.client, "unpin", monkeypatch)
    assert {driver.ask(request) for _ in range(3)} == {(0, False)}
    driver.settle()
    assert unpins.count == 1
    assert driver.counts()["advised_recompute"] == 1


def test_asked_again_it_answers_the_same_from_the_same_pin(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    lookups = Spy(driver.client, "lookup", monkeypatch)
    unpins = Spy(driver.client, "unpin", monkeypatch)
    answers = {driver.ask(request) for _ in range(5)}  # as after failed allocations
    assert answers == {(6 * BLOCK, True)}
    driver.settle()
    assert (lookups.count, unpins.count) == (1, 0)
    assert lookups.calls[0][1]["pin_ms"] > 0


def test_a_miss_is_not_looked_up_again_each_step(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = Spy(driver.client, "lookup", monkeypatch)
    request = driver.request("r", prompt(200, seed=99))
    assert {driver.ask(request) for _ in range(5)} == {(0, False)}
    assert lookups.count == 1


def test_a_look_up_names_the_whole_chain_and_where_it_begins_to_matter(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(daemon.local_socket, lookup_timeout_ms=777.0, recompute_ms_per_token=3.0)
    lookups = Spy(driver.client, "lookup", monkeypatch)
    request = driver.request("r", prompt(4 * BLOCK + 1, seed=12))
    driver.ask(request, local_tokens=BLOCK)
    ((args, named),) = lookups.calls
    assert args[1] == driver.scheduler._keys(request, 0, 4)
    assert (named["first_wanted_tokens"], named["block_tokens"]) == (BLOCK, BLOCK)
    assert (named["timeout_ms"], named["recompute_ms_per_token"]) == (777, 3)
    driver.close()


def test_a_request_that_must_not_read_caches_is_not_looked_up(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    request.skip_reading_prefix_cache = True  # prompt_logprobs
    lookups = Spy(driver.client, "lookup", monkeypatch)
    assert driver.ask(request) == (0, False)
    assert lookups.count == 0


def test_a_pin_that_is_half_over_is_renewed_and_one_that_is_gone_is_looked_up_again(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    lookups = Spy(driver.client, "lookup", monkeypatch)
    pins = Spy(driver.client, "pin", monkeypatch)
    driver.ask(request)
    claim = driver.scheduler._states["r"].claim
    claim.expires -= 0.6 * driver.settings.pin_ms / 1000
    assert driver.ask(request) == (6 * BLOCK, True)
    assert (lookups.count, pins.count) == (1, 1)
    assert driver.ask(request) == (6 * BLOCK, True)  # renewed: not again
    assert pins.count == 1
    driver.client.unpin(driver.scheduler._gateway.ns, claim.pin_token)
    claim.expires -= 0.6 * driver.settings.pin_ms / 1000
    assert driver.ask(request) == (6 * BLOCK, True)
    assert (lookups.count, pins.count) == (2, 2)


@pytest.mark.parametrize(("load", "save"), [(False, True), (True, False)])
def test_loading_and_saving_may_be_turned_off(daemon: Daemon, load: bool, save: bool) -> None:
    saver = Driver(daemon.local_socket)
    ids = [*stored(saver), 7]
    driver = Driver(daemon.local_socket, identity=saver.identity, load=load, save=save)
    request = driver.request("r", ids)
    assert driver.ask(request) == ((6 * BLOCK, True) if load else (0, False))
    driver.allocate(request, list(range(20, 27)), 0)
    driver.step({request: len(ids)})
    planned = [(job.first, len(job.keys)) for job in driver.last_step.saves]
    # Without a look-up nothing is known to be held.
    assert planned == ([(0, 6)] if save else [])
    driver.close()
    saver.close()


def test_a_smaller_hit_of_the_engine_is_looked_up_afresh_with_one_pin(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    lookups = Spy(driver.client, "lookup", monkeypatch)
    unpins = Spy(driver.client, "unpin", monkeypatch)
    assert driver.ask(request, 3 * BLOCK) == (3 * BLOCK, True)
    assert driver.ask(request, 2 * BLOCK) == (4 * BLOCK, True)
    driver.settle()
    assert (lookups.count, unpins.count) == (2, 1)


def test_the_pin_of_a_dropped_claim_is_released(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    unpins = Spy(driver.client, "unpin", monkeypatch)
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 0)
    driver.settle()
    assert unpins.count == 1


def test_the_pin_of_a_finished_request_is_released(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    unpins = Spy(driver.client, "unpin", monkeypatch)
    driver.ask(request)
    driver.scheduler.finished(request)
    driver.settle()
    assert unpins.count == 1


def test_the_pin_of_a_preempted_request_is_released(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    unpins = Spy(driver.client, "unpin", monkeypatch)
    driver.ask(request)
    driver.step(preempted=[request])
    driver.settle()
    assert unpins.count == 1


def test_a_preempted_request_claims_again(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    request = driver.request("r", [*stored(driver), 7])
    lookups = Spy(driver.client, "lookup", monkeypatch)
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    assert driver.step_until_loaded(request) == set()
    request.num_computed_tokens, request.num_preemptions = 0, 1
    assert driver.ask(request) == (6 * BLOCK, True)
    assert lookups.count == 2


def test_a_silent_gateway_is_no_hit_within_the_deadline(daemon: Daemon) -> None:
    storing = Driver(daemon.local_socket)
    ids = [*stored(storing), 7]
    driver = Driver(daemon.local_socket, identity=storing.identity, lookup_timeout_ms=10.0)
    daemon.freeze()
    start = time.monotonic()
    assert driver.ask(driver.request("r", ids)) == (0, False)
    assert time.monotonic() - start < 0.1 * 10  # promised 10 ms; this finds hangs
    assert driver.counts()["lookup_failures"] == 1
    daemon.ensure_alive()
    driver.close()
    storing.close()


def test_nothing_is_claimed_when_a_failed_load_would_fail_the_request(daemon: Daemon) -> None:
    saver = Driver(daemon.local_socket)
    ids = [*stored(saver), 7]
    refusing = Driver(daemon.local_socket, refuse_claims="fail", identity=saver.identity)
    willing = Driver(daemon.local_socket, identity=saver.identity)
    assert willing.ask(willing.request("r", ids)) == (6 * BLOCK, True)
    willing.close()
    assert refusing.ask(refusing.request("r", ids)) == (0, False)
    refusing.close()
    saver.close()


def test_after_the_engine_reset_its_caches_nothing_is_claimed_or_saved(driver: Driver) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.scheduler.forget()  # weights may have changed in place
    assert driver.ask(request) == (0, False)
    driver.allocate(request, list(range(20, 27)), 0)
    driver.step({request: request.num_tokens})
    assert driver.last_step.saves == []


# ---- loads ------------------------------------------------------------------------------------


def test_a_load_fills_the_blocks_with_the_same_bytes(driver: Driver) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    assert driver.step_until_loaded(request) == set()
    assert all(driver.same(1 + i, 20 + i) for i in range(6))
    assert driver.is_clear(26)
    assert driver.counts()["verified_blocks"] == 6


def test_a_load_goes_by_the_pin_and_ends_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request, local_tokens=BLOCK)
    gets = Spy(driver.worker._gateway.client, "get_into", monkeypatch)
    unpins = Spy(driver.client, "unpin", monkeypatch)
    driver.allocate(request, [1, *range(20, 26)], 5 * BLOCK)
    driver.step_until_loaded(request)
    driver.settle()
    (_, get), (unpin, _) = gets.calls[0], unpins.calls[0]
    assert get["first"] == 1
    assert get["pin_token"] == unpin[1] != 0


def test_a_load_without_a_pin_goes_by_keys(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    real = driver.client.lookup
    monkeypatch.setattr(driver.client, "lookup", lambda *a, **k: real(*a, **{**k, "pin_ms": 0}))
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request, local_tokens=BLOCK)
    driver.allocate(request, [1, *range(20, 26)], 5 * BLOCK)
    assert driver.step_until_loaded(request) == set()
    assert all(driver.same(2 + i, 20 + i) for i in range(5))


def test_after_a_failed_load_nothing_is_claimed_and_the_blocks_are_saved_again(
    driver: Driver,
) -> None:
    ids = [*stored(driver), 7]
    request = driver.request("r", ids)
    driver.ask(request)
    keys = driver.scheduler._keys(request, 2, 3)
    assert driver.client.delete(driver.scheduler._gateway.ns, keys) == [True]
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    failed = driver.step_until_loaded(request)
    assert failed == set(range(22, 26))
    assert driver.ask(request) == (0, False)
    before = driver.counts()["saved_blocks"]
    request.num_computed_tokens = 2 * BLOCK  # as vLLM sets it: up to the first bad block
    driver.step({request: len(ids) - 2 * BLOCK})
    driver.settle()
    assert driver.counts()["saved_blocks"] == before + 1  # the deleted one; the rest is held


def test_an_aborted_load_is_reported_once_and_touches_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    touches = Spy(driver.client, "touch", monkeypatch)
    unpins = Spy(driver.client, "unpin", monkeypatch)
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    request.num_computed_tokens = 6 * BLOCK  # vLLM counts tokens that are not loaded yet
    driver.scheduler.finished(request)  # aborted before its step ran
    driver.step_until_loaded(request)
    assert not any(driver.step().finished_recving for _ in range(10))
    driver.settle()
    assert (touches.count, unpins.count) == (0, 1)


def test_the_load_deadline_is_twice_the_prediction_but_no_longer_than_recomputing(
    daemon: Daemon,
) -> None:
    driver = Driver(daemon.local_socket, load_slack_ms=50.0, recompute_ms_per_token=1.0)
    assert driver.scheduler._load_deadline_ms(predicted_ms=20, tokens=1000) == 90
    assert driver.scheduler._load_deadline_ms(predicted_ms=20, tokens=64) == 64
    driver.close()


def planned_deadlines(driver: Driver, ids: list[int], names: Iterable[str]) -> list[float]:
    """Of loads of the same blocks that are planned in one step; they are not carried out."""
    for name in names:
        request = driver.request(name, ids)
        assert driver.ask(request) == (6 * BLOCK, True)
        driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    jobs, driver.scheduler._loads = driver.scheduler._loads, []
    return [job.deadline_ms for job in jobs]


def tell_load_time(driver: Driver, taken: LoadTime) -> None:
    driver.scheduler._learn_report(WorkerReport(load_times=[taken]))


def test_a_late_load_gives_the_next_one_twice_the_time_that_it_had(daemon: Daemon) -> None:
    driver = Driver(daemon.local_socket, load_slack_ms=50.0)
    ids = [*stored(driver), 7]
    (first,) = planned_deadlines(driver, ids, ["a"])
    assert 50 < first < 60  # the gateway's prediction for six small blocks is next to nothing
    tell_load_time(driver, LoadTime("a", {}, 60.0, late=True))
    driver.scheduler._states.pop("a")
    (second,) = planned_deadlines(driver, ids, ["b"])
    assert second == pytest.approx(2 * 60 + 50)
    driver.close()


def test_a_load_is_given_the_time_of_those_before_it(daemon: Daemon) -> None:
    driver = Driver(daemon.local_socket, load_slack_ms=50.0)
    ids = [*stored(driver), 7]
    tell_load_time(driver, LoadTime("an earlier one", {"memory": 6}, 30.0, late=False))
    deadlines = planned_deadlines(driver, ids, ["a", "b", "c"])
    assert deadlines == pytest.approx([110, 170, 230])
    driver.close()


def test_nothing_is_claimed_where_loads_took_longer_than_computing(daemon: Daemon) -> None:
    driver = Driver(daemon.local_socket, recompute_ms_per_token=1.0)
    ids = [*stored(driver), 7]
    assert driver.ask(driver.request("r", ids)) == (6 * BLOCK, True)
    tell_load_time(driver, LoadTime("an earlier one", {"memory": 6}, 250.0, late=False))
    assert driver.ask(driver.request("s", ids)) == (0, False)  # 192 ms to compute
    assert driver.counts()["advised_recompute"] == 1
    answers = [driver.ask(driver.request(f"t{i}", ids)) for i in range(20)]
    assert answers[-1] == (6 * BLOCK, True)  # tried again in the end
    driver.close()


def test_each_load_is_measured(driver: Driver) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    driver.step_until_loaded(request)
    took = driver.counts()["load_ms_sum"]
    learned = driver.scheduler._forecast.ms({"memory": 6}, gateway_ms=0)
    assert 0 < learned <= max(took, 1.1 + 0.1 * took)  # the fixed part has a least guess


def test_after_its_deadline_a_load_writes_nothing(daemon: Daemon) -> None:
    driver = Driver(daemon.local_socket, load_slack_ms=0.0, recompute_ms_per_token=0.0001)
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request)
    if driver.scheduler._states["r"].claim.held_blocks == 0:
        driver.scheduler._states[
            "r"
        ].claim.held_blocks = 6  # advised against: claim it all the same
    driver.scheduler._states["r"].local_blocks = 0
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    daemon.freeze()
    failed = driver.step_until_loaded(request)
    assert failed
    poison = 77
    for block in failed:
        driver.fill(block, poison)
    driver.fill(100, poison)
    daemon.signal(signal.SIGCONT)
    assert driver.worker._gateway.client.ping(timeout_ms=5000) in (0, 4, 14)
    assert all(driver.same(block, 100) for block in failed)
    driver.close()


# ---- saves ------------------------------------------------------------------------------------


def test_only_blocks_complete_after_the_step_are_saved(driver: Driver) -> None:
    request = driver.request("r", prompt(10 * BLOCK, seed=2))
    driver.ask(request)
    driver.allocate(request, list(range(1, 11)), 0)
    assert len(request.block_hashes) == 10  # a chunked prefill has all hashes at once
    for tokens, complete in [(BLOCK - 1, 0), (1, 1), (5 * BLOCK + 3, 6)]:
        driver.step({request: tokens})
        driver.settle()
        assert driver.counts().get("saved_blocks", 0) == complete


def test_draft_tokens_that_may_be_rejected_complete_no_block(driver: Driver) -> None:
    request = driver.request("r", prompt(2 * BLOCK, seed=3))
    driver.ask(request)
    driver.allocate(request, [1, 2], 0)
    driver.step({request: 2 * BLOCK}, drafts={request: 4})
    driver.settle()
    assert driver.counts()["saved_blocks"] == 1


def test_tokens_that_are_placeholders_yet_complete_no_block(driver: Driver) -> None:
    request = driver.request("r", prompt(2 * BLOCK, seed=11))
    driver.ask(request)
    driver.allocate(request, [1, 2], 0)
    request.num_output_placeholders = 1  # asynchronous scheduling: a token still unknown
    driver.step({request: 2 * BLOCK})
    assert [(job.first, len(job.keys)) for job in driver.last_step.saves] == [(0, 1)]


def test_a_fault_in_planning_saves_loses_no_load(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", [*stored(driver), 7])
    driver.ask(request)
    driver.allocate(request, list(range(20, 27)), 6 * BLOCK)
    monkeypatch.setattr(driver.scheduler, "_saves", lambda output: 1 / 0)
    assert driver.step_until_loaded(request) == set()
    assert "planning saves failed" in driver.scheduler.worker_problem


def test_a_save_names_parent_root_and_depth(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = driver.scheduler._gateway.root_group_keys()
    blocks = group + 3
    request = driver.request("r", prompt(blocks * BLOCK, seed=4))
    keys = driver.scheduler._keys(request, 0, blocks)
    sets = Spy(driver.worker._gateway.client, "set", monkeypatch)
    driver.ask(request)
    driver.allocate(request, list(range(1, blocks + 1)), 0)
    for tokens in (2 * BLOCK, (group - 2) * BLOCK, BLOCK, 2 * BLOCK):
        driver.step({request: tokens})
        driver.settle()
    named = [(k["depth"], k["parent"], k["root"]) for _, k in sets.calls]
    assert named == [
        (0, b"", b""),
        (2, keys[1], keys[0]),
        (group, keys[group - 1], b""),
        (group + 1, keys[group], keys[group]),
    ]


def test_a_block_of_the_null_id_is_never_saved(driver: Driver) -> None:
    request = driver.request("r", prompt(4 * BLOCK, seed=5))
    driver.ask(request)
    driver.allocate(request, [1, 0, 3, 4], 0)
    driver.step({request: 4 * BLOCK})
    assert [(job.first, job.block_ids) for job in driver.last_step.saves] == [(0, [1]), (2, [3, 4])]


def test_a_request_with_a_lora_is_left_alone_counted_and_logged_once(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("r", "s"):
        request = driver.request(name, prompt(4 * BLOCK, seed=6))
        request.lora_request = LoRARequest("fine-tune", 1, "/nowhere")
        assert driver.ask(request) == (0, False)
        driver.allocate(request, [1, 2, 3, 4], 0)
        driver.step({request: 4 * BLOCK})
        assert driver.last_step.saves == []
        driver.scheduler.finished(request)
    driver.settle()
    assert driver.counts() == {"skipped_requests_lora": 2}  # no look-up, no touch either
    assert caplog.text.count("'fine-tune'") == 1


def test_a_finished_request_touches_its_last_block(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = driver.request("r", prompt(4 * BLOCK + 5, seed=7))
    request.kv_transfer_params = {"kvgate.turn": 3}
    request.append_output_token_ids([5, 6])
    touches = Spy(driver.client, "touch", monkeypatch)
    driver.compute(request, [1, 2, 3, 4, 5])
    driver.scheduler.finished(request)
    driver.settle()
    (args, named), *more = touches.calls
    assert more == []
    assert args[1] == driver.scheduler._keys(request, 3, 4)[0]
    assert named["hints"] == Hints(4 * BLOCK + 5, output_tokens=2, turn=3, finished=True)


def test_a_save_has_its_deadline_hints_and_the_checksum_of_its_bytes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = driver.worker._gateway.client
    sets = Spy(client, "set", monkeypatch)
    request = driver.request("r", prompt(2 * BLOCK + 5, seed=13))
    request.kv_transfer_params = {"kvgate.turn": 2}
    driver.compute(request, [1, 2, 3])
    ((args, named),) = sets.calls
    layout = driver.worker.loader._layout
    crcs = [client.crc32c(layout.pieces([block])) for block in (1, 2)]
    assert [entry.producer_crc for entry in args[1]] == crcs
    assert named["timeout_ms"] == 5000
    assert named["hints"] == Hints(2 * BLOCK + 5, turn=2)


def test_blocks_that_the_gateway_lost_are_saved_again(driver: Driver) -> None:
    ids = stored(driver)
    gateway = driver.scheduler._gateway
    keys = [bytes(key) for key in driver.request("keys", ids).block_hashes]
    assert all(gateway.client.delete(gateway.ns, keys[2:]))
    saved = driver.counts()["saved_blocks"]
    request = driver.request("r", ids)
    assert driver.ask(request, local_tokens=0) == (2 * BLOCK, True)
    driver.allocate(request, list(range(20, 26)), 2 * BLOCK)
    driver.step_until_loaded(request)
    request.num_computed_tokens = 2 * BLOCK
    driver.step({request: 4 * BLOCK})
    driver.settle()
    assert driver.counts()["saved_blocks"] == saved + 4


def test_held_blocks_are_not_gathered_again(daemon: Daemon) -> None:
    storing = Driver(daemon.local_socket)
    ids = stored(storing)
    driver = Driver(daemon.local_socket, identity=storing.identity)  # knows nothing yet
    request = driver.request("r", [*ids, *prompt(2 * BLOCK, seed=8)])
    driver.ask(request)
    driver.allocate(request, list(range(20, 28)), 6 * BLOCK)
    driver.step_until_loaded(request)
    request.num_computed_tokens = 6 * BLOCK
    driver.step({request: 2 * BLOCK})
    assert [(job.first, len(job.keys)) for job in driver.last_step.saves] == [(6, 2)]
    driver.close()
    storing.close()
