# SPDX-License-Identifier: Apache-2.0
"""One engine, one daemon: what a user sees, and what must not be seen when things go wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Daemon
from engine import BLOCK, WAIT_S, Engine, grown, loaded_tokens, prompt, transfer_config
from kvgate import GetResult, Reason, SetEntry, SetMode, Tier


@pytest.fixture(scope="module")
def engine_process(daemon_process: Daemon, tiny_model: str) -> Iterator[Engine]:
    daemon_process.ensure_alive()
    extra = {
        "transport": "local",
        "local_socket": daemon_process.local_socket,
        "grpc_target": daemon_process.grpc_target,
    }
    engine = Engine(tiny_model, transfer_config(extra))
    yield engine
    daemon_process.ensure_alive()
    engine.close()


@pytest.fixture
def engine(engine_process: Engine, daemon: Daemon) -> Engine:
    engine_process.forget()
    wait_until_served(engine_process)
    return engine_process


def wait_until_served(engine: Engine) -> None:
    """The clients have found the daemon again."""
    served = threading.Event()
    for side in (engine.scheduler, engine.worker):
        for _ in range(600):
            if side._gateway.client.ping(timeout_ms=1000) == 0:
                break
            served.wait(0.1)
        else:
            pytest.fail("the daemon is not reached again")


def keys_of(engine: Engine, ids: list[int]) -> list[bytes]:
    from vllm import SamplingParams
    from vllm.v1.request import Request

    request = Request(
        "keys",
        ids,
        SamplingParams(max_tokens=1),
        None,
        block_hasher=engine.core.request_block_hasher,
    )
    return [bytes(key) for key in request.block_hashes]


# ---- found again ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [6 * BLOCK - 1, 6 * BLOCK, 6 * BLOCK + 1])
def test_blocks_are_found_again_around_a_block_boundary(engine: Engine, length: int) -> None:
    ids = prompt(length, seed=length)
    cold = engine.one(ids)
    engine.forget()
    before = engine.counts()
    assert engine.one(ids) == cold
    after = engine.counts()
    expected = (length - 1) // BLOCK * BLOCK
    assert loaded_tokens(before, after) == expected
    assert grown(before, after, "verified_blocks") == expected // BLOCK
    assert grown(before, after, "load_failures") == 0


def test_a_restarted_daemon_serves_from_disk(engine: Engine, daemon: Daemon) -> None:
    ids = prompt(400, seed=1)
    cold = engine.one(ids)
    engine.forget()
    daemon.stop()
    daemon.start()
    wait_until_served(engine)
    before = engine.counts()
    assert engine.one(ids) == cold
    after = engine.counts()
    assert grown(before, after, "loaded_tokens_disk") == 384
    assert grown(before, after, "loaded_tokens_memory") == 0


def test_a_second_turn_loads_the_first_and_saves_only_what_is_new(engine: Engine) -> None:
    first = prompt(200, seed=2)
    answer = engine.one(first, max_tokens=30)
    second = first + answer + prompt(100, seed=3)
    engine.forget()
    before = engine.counts()
    engine.one(second)
    engine.settle()
    after = engine.counts()
    # The last generated token is never computed, so the first turn left 229 of 230 tokens.
    assert loaded_tokens(before, after) == 229 // BLOCK * BLOCK
    assert grown(before, after, "saved_blocks") == len(second) // BLOCK - 229 // BLOCK


def test_chunked_prefill_saves_each_block_once(engine: Engine) -> None:
    prompts = [prompt(1500, seed=seed) for seed in (4, 5, 6)]  # more than one step's tokens
    before = engine.counts()
    engine.generate(prompts)
    engine.settle()
    after = engine.counts()
    assert grown(before, after, "saved_blocks") == 3 * ((1500 + 8 - 1) // BLOCK)
    assert grown(before, after, "held_blocks") == 0


# ---- controls ---------------------------------------------------------------------------------


def test_noise_under_the_same_keys_changes_the_tokens(engine: Engine) -> None:
    ids, other = prompt(200, seed=7), prompt(200, seed=8)
    cold = engine.one(ids)
    assert engine.one(other) != cold, "prompts that do not matter prove nothing"
    engine.forget()
    overwrite_with_noise(engine, keys_of(engine, ids))
    before = engine.counts()
    noisy = engine.one(ids)
    assert loaded_tokens(before, engine.counts()) == 192
    assert noisy != cold


def overwrite_with_noise(engine: Engine, keys: list[bytes]) -> None:
    import random

    gateway = engine.worker._gateway
    size = engine.worker.loader._layout.value_bytes
    noise = random.Random(9)
    assert gateway.client.delete(gateway.ns, keys) == [True] * len(keys)
    # bf16 numbers near 1: large for a cache, and no NaN.
    value = [
        bytes(noise.choice((0x3F, 0xBF)) if i % 2 else 0x80 for i in range(size)) for _ in keys
    ]
    entries = [SetEntry(key, bytes(data)) for key, data in zip(keys, value, strict=True)]
    results = gateway.client.set(gateway.ns, entries, mode=SetMode.IF_ABSENT)
    assert [result.reason for result in results] == [Reason.OK] * len(keys)


def test_a_corrupted_segment_is_a_miss_and_the_tokens_are_right(
    engine: Engine, daemon: Daemon
) -> None:
    ids = prompt(400, seed=10)
    cold = engine.one(ids)
    engine.forget()
    value = read_block(engine, keys_of(engine, ids)[2])
    daemon.stop()
    assert corrupt_on_disk(daemon, value) > 0
    daemon.start()
    wait_until_served(engine)
    before = engine.counts()
    assert engine.one(ids) == cold
    after = engine.counts()
    assert loaded_tokens(before, after) == 2 * BLOCK
    assert grown(before, after, "load_failures") == 1
    # The good bytes were saved again.
    engine.forget()
    before = engine.counts()
    assert engine.one(ids) == cold
    assert loaded_tokens(before, engine.counts()) == 384


def read_block(engine: Engine, key: bytes) -> bytes:
    gateway = engine.worker._gateway
    size = engine.worker.loader._layout.value_bytes
    root = b"" if gateway.root_group_keys() == 1 else keys_of(engine, prompt(400, seed=10))[0]
    (value,) = gateway.client.get(gateway.ns, [key], size, root=root, depth=2)
    assert value is not None
    return value


def corrupt_on_disk(daemon: Daemon, value: bytes) -> int:
    """Flips one bit of each copy of the value in the daemon's files; how many."""
    copies = 0
    for file in daemon.data_dir.rglob("*"):
        if not file.is_file() or file.stat().st_size < len(value):
            continue
        with open(file, "r+b") as stream:
            data = stream.read()
            at = data.find(value)
            while at >= 0:
                stream.seek(at + 100)
                stream.write(bytes([data[at + 100] ^ 1]))
                copies += 1
                at = data.find(value, at + 1)
    return copies


# ---- faults: no request fails, every token is right --------------------------------------------


def test_a_killed_daemon_fails_no_request(engine: Engine, daemon: Daemon) -> None:
    ids = [prompt(300, seed=20 + i) for i in range(4)]
    cold = [engine.one(one) for one in ids]
    engine.forget()
    engine.add("r0", ids[0])
    engine.step()
    daemon.kill()  # mid-run
    for i, one in enumerate(ids[1:], 1):
        engine.add(f"r{i}", one)
    done = engine.finish()
    assert [done[f"r{i}"] for i in range(4)] == cold


def test_an_absent_daemon_fails_no_request(engine: Engine, daemon: Daemon) -> None:
    ids = [prompt(300, seed=30 + i) for i in range(4)]
    cold = [engine.one(one) for one in ids]
    engine.forget()
    daemon.kill()
    before = engine.counts()
    assert [engine.one(one) for one in ids] == cold
    assert loaded_tokens(before, engine.counts()) == 0


def test_a_stopped_daemon_fails_no_request(engine: Engine, daemon: Daemon) -> None:
    ids = [prompt(300, seed=40 + i) for i in range(4)]
    cold = [engine.one(one) for one in ids]
    engine.forget()
    daemon.freeze()
    assert [engine.one(one) for one in ids] == cold
    daemon.signal(signal.SIGCONT)


def test_the_daemon_is_used_again_once_it_is_back(engine: Engine, daemon: Daemon) -> None:
    ids = prompt(300, seed=50)
    cold = engine.one(ids)
    engine.forget()
    daemon.stop()
    assert engine.one(ids) == cold
    engine.forget()
    daemon.start()
    wait_until_served(engine)
    before = engine.counts()
    assert engine.one(ids) == cold
    assert loaded_tokens(before, engine.counts()) == 288


# ---- failed, aborted and preempted -------------------------------------------------------------


def fail_block(engine: Engine, monkeypatch: pytest.MonkeyPatch, failing: int) -> list[int]:
    """Loads fail from that block of a call on. Returns a list that gets each call's first block."""
    client = engine.worker._gateway.client
    real = client.get_into
    calls: list[int] = []

    def get_into(ns: int, pieces: Any, **request: Any) -> list[GetResult]:
        calls.append(request["first"])
        results = real(ns, pieces, **request)
        bad = GetResult(Reason.IO_ERROR, Tier.NONE, 0, 0)
        return [*results[:failing], *[bad] * len(results[failing:])]

    monkeypatch.setattr(client, "get_into", get_into)
    return calls


@pytest.mark.parametrize("failing", [0, 3])
def test_a_failed_load_is_recomputed_once_and_claims_nothing_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    ids = prompt(300, seed=60 + failing)
    cold = engine.one(ids)
    engine.forget()
    calls = fail_block(engine, monkeypatch, failing)
    before = engine.counts()
    assert engine.one(ids) == cold
    after = engine.counts()
    assert len(calls) == 1  # no endless loop of claims
    assert grown(before, after, "loads") == 1
    assert loaded_tokens(before, after) == failing * BLOCK


def hold_loads(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Loads wait until the event is set."""
    client = engine.worker._gateway.client
    real, go = client.get_into, threading.Event()

    def get_into(*args: Any, **request: Any) -> list[GetResult]:
        assert go.wait(WAIT_S)
        return real(*args, **request)

    monkeypatch.setattr(client, "get_into", get_into)
    return go


def test_an_abort_during_a_load_saves_and_touches_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt(300, seed=70)
    cold = engine.one(ids)
    engine.forget()
    go = hold_loads(engine, monkeypatch)
    engine.add("aborted", ids)
    engine.step()
    (state,) = engine.scheduler._states.values()
    assert state.loading is not None
    before = engine.counts()
    engine.llm.llm_engine.abort_request(["aborted"])
    engine.step()
    assert engine.scheduler._states == {}
    assert len(engine.vllm_scheduler.requests) == 1, "its blocks are free before the load ended"
    go.set()
    while engine.vllm_scheduler.requests:  # until finished_recving frees them
        engine.core.step()
    engine.settle()
    after = engine.counts()
    for name in ("saved_blocks", "held_blocks", "touches"):
        assert grown(before, after, name) == 0
    monkeypatch.undo()
    assert engine.one(ids) == cold


def test_a_preempted_request_is_loaded_again(engine: Engine) -> None:
    ids = prompt(300, seed=80)
    cold = engine.one(ids, max_tokens=40)
    engine.forget()
    engine.add("preempted", ids, max_tokens=40)
    while not engine.vllm_scheduler.running:
        engine.step()
    for _ in range(5):
        engine.step()
    before = engine.counts()
    engine.settle()
    assert engine.vllm_scheduler.reset_prefix_cache(reset_running_requests=True)
    assert engine.finish() == {"preempted": cold}
    assert loaded_tokens(before, engine.counts()) >= 288


# ---- what vLLM was told ------------------------------------------------------------------------


def test_a_failed_load_is_recomputed_by_policy(engine: Engine) -> None:
    assert engine.vllm_scheduler.recompute_kv_load_failures is True
    assert engine.vllm_scheduler.requires_kv_delivery is False


def test_the_self_test_passed(engine: Engine) -> None:
    assert engine.worker.problem == ""
    assert engine.scheduler.worker_problem == ""


def test_staging_that_is_full_drops_blocks_and_saves_them_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = engine.worker._gateway.client
    real, left = client.staging_alloc, [0]

    def staging_alloc(size: int) -> int:
        left[0] += 1
        return 0 if left[0] == 1 else real(size)

    monkeypatch.setattr(client, "staging_alloc", staging_alloc)
    ids = prompt(300, seed=90)
    before = engine.counts()
    engine.one(ids, max_tokens=40)  # long enough for a second try
    engine.settle()
    after = engine.counts()
    assert grown(before, after, "dropped_blocks_staging") == 300 // BLOCK
    assert grown(before, after, "saved_blocks") == 339 // BLOCK
