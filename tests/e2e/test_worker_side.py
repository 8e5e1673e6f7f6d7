# SPDX-License-Identifier: Apache-2.0
"""What the worker's side promises: the proof of addresses, staging, verification."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Daemon
from driver import BLOCK, BLOCKS, LAYERS, SHAPE, Driver, Spy
from engine import WAIT_S, prompt
from kvgate import Client, GetResult, PieceTable, Reason, Tier
from kvgate.vllm import layout as layout_module
from kvgate.vllm import saver as saver_module
from kvgate.vllm.crc import JoinedCrc32c
from kvgate.vllm.layout import BlockLayout, LayoutError
from kvgate.vllm.scheduler import RETRY_STEPS
from kvgate.vllm.self_test import check_addresses


@pytest.fixture
def driver(daemon: Daemon) -> Iterator[Driver]:
    made = Driver(daemon.local_socket)
    yield made
    made.close()


@pytest.fixture(scope="module")
def gather() -> Any:
    client = Client(local_socket="/nowhere")
    yield client.gather
    client.close()


def tensors(**forms: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(SHAPE, dtype=torch.bfloat16) for name in LAYERS} | forms


# ---- layout and self-test ---------------------------------------------------------------------


def test_right_addresses_pass_and_every_block_keeps_its_bytes(gather: Any) -> None:
    caches = tensors()
    for tensor in caches.values():
        tensor.copy_(torch.randn(SHAPE).to(torch.bfloat16))
    before = {name: tensor.clone() for name, tensor in caches.items()}
    assert check_addresses(BlockLayout(caches, LAYERS, BLOCKS), gather) == ""
    assert all(torch.equal(before[name], tensor) for name, tensor in caches.items())


def test_layers_packed_side_by_side_pass(gather: Any) -> None:
    packed = torch.zeros((BLOCKS, 2, *SHAPE[1:]), dtype=torch.bfloat16)
    caches = {name: packed[:, i] for i, name in enumerate(LAYERS)}
    layout = BlockLayout(caches, LAYERS, BLOCKS)
    assert check_addresses(layout, gather) == ""
    assert not packed.any()


def test_a_wrong_stride_is_found_with_the_layers_name(
    gather: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layout_module.block_stride
    wrong = tensors()
    broken = wrong[LAYERS[1]]
    monkeypatch.setattr(
        layout_module,
        "block_stride",
        lambda tensor: right(tensor) // (2 if tensor is broken else 1),
    )
    problem = check_addresses(BlockLayout(wrong, LAYERS, BLOCKS), gather)
    assert LAYERS[1] in problem
    assert "stride" in problem


def test_addresses_outside_the_tensor_are_never_written(
    gather: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layout_module.block_stride
    monkeypatch.setattr(layout_module, "block_stride", lambda tensor: right(tensor) * 3)
    problem = check_addresses(BlockLayout(tensors(), LAYERS, BLOCKS), gather)
    assert "outside" in problem and LAYERS[0] in problem


def test_a_missing_layer_and_a_foreign_shape_are_named() -> None:
    with pytest.raises(LayoutError, match=r"layer absent"):
        BlockLayout(tensors(), ("absent",), BLOCKS)
    with pytest.raises(LayoutError, match=r"shape \(8, 1, 32, 64\) for 256 blocks"):
        BlockLayout({LAYERS[0]: torch.zeros((8, *SHAPE[1:]))}, LAYERS[:1], BLOCKS)


def test_huge_pages_are_asked_for_below_the_cache_and_nothing_beside_it() -> None:
    small, large = torch.zeros(1 << 20, dtype=torch.uint8), torch.zeros(64 << 20, dtype=torch.uint8)
    agreed = layout_module.advise_huge_pages([small, large, large[1 << 20 :]])  # one storage twice
    assert agreed in (0, 62 << 20, 64 << 20)  # 0: a kernel without them
    assert agreed == 0 or "hg" in flags_of(large.data_ptr() + (4 << 20))
    assert not large.any()


def flags_of(address: int) -> list[str]:
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("VmFlags:"):
            if inside:
                return line.split()[1:]
        elif "-" in line.split()[0] and ":" not in line.split()[0]:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            inside = low <= address < high
    return []


def test_the_null_block_has_no_address() -> None:
    layout = BlockLayout(tensors(), LAYERS, BLOCKS)
    for ids in ([0], [1, BLOCKS]):
        with pytest.raises(LayoutError, match="out of 1"):
            layout.rows(ids)


def test_a_worker_that_failed_its_test_fails_loads_and_tells_the_scheduler(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layout_module.block_stride
    monkeypatch.setattr(layout_module, "block_stride", lambda tensor: right(tensor) // 2)
    driver = Driver(daemon.local_socket)
    assert LAYERS[0] in driver.worker.handshake().problem
    request = driver.request("r", prompt(4 * BLOCK, seed=1))
    driver.ask(request)
    driver.allocate(request, [1, 2, 3, 4], 0)
    driver.step({request: 4 * BLOCK})
    assert LAYERS[0] in driver.scheduler.worker_problem
    assert driver.counts().get("saved_blocks", 0) == 0
    driver.close()


@pytest.mark.parametrize("size", [1, 7, 4096, 524_288])
def test_joined_checksums_are_those_of_the_joined_bytes(gather: Any, size: int) -> None:
    values = [random.Random(i).randbytes(size) for i in range(5)]
    target = ctypes.create_string_buffer(5 * size)
    crcs = []
    for index, value in enumerate(values):
        source = ctypes.create_string_buffer(value, size)
        pieces = PieceTable.of([[(ctypes.addressof(source), size)]])
        crcs.append(gather(ctypes.addressof(target) + index * size, pieces))
    whole = PieceTable.of([[(ctypes.addressof(target), 5 * size)]])
    copy = ctypes.create_string_buffer(5 * size)
    assert JoinedCrc32c(size).of(crcs) == gather(ctypes.addressof(copy), whole)
    assert JoinedCrc32c(size).of([]) == 0


# ---- saves ------------------------------------------------------------------------------------


def test_bytes_changed_after_the_step_do_not_change_what_is_saved(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, go = driver.worker._gateway.client, threading.Event()
    real = client.set

    def late_set(*args: Any, **named: Any) -> Any:
        assert go.wait(WAIT_S)
        return real(*args, **named)

    monkeypatch.setattr(client, "set", late_set)
    ids = prompt(2 * BLOCK, seed=2)
    request = driver.request("r", ids)
    driver.ask(request)
    driver.allocate(request, [1, 2], 0)
    for block, seed in ((1, 11), (2, 12), (50, 11), (51, 12)):
        driver.fill(block, seed)
    driver.step({request: 2 * BLOCK})
    driver.clear([1, 2])  # the engine gave them to someone else
    go.set()
    driver.settle()
    again = driver.request("again", [*ids, 7])
    assert driver.ask(again) == (2 * BLOCK, True)
    driver.allocate(again, [20, 21, 22], 2 * BLOCK)
    assert driver.step_until_loaded(again) == set()
    assert driver.same(20, 50) and driver.same(21, 51)


def test_bytes_changed_on_the_way_are_refused_and_the_chain_ends_there(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = driver.worker._gateway.client
    real, count = client.gather, [0]

    def gather(target: int, pieces: Any) -> int:
        count[0] += 1
        return real(target, pieces) ^ (1 if count[0] == 2 else 0)

    monkeypatch.setattr(client, "gather", gather)
    ids = prompt(4 * BLOCK, seed=3)
    driver.compute(driver.request("r", ids), [1, 2, 3, 4])
    counts = driver.counts()
    assert counts["saved_blocks"] == 1
    assert counts["save_miss_data_loss"] == 3
    assert driver.ask(driver.request("again", [*ids, 7])) == (BLOCK, True)


def test_after_a_block_that_was_not_stored_the_rest_of_its_run_is_not_sent(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = driver.worker._gateway.client
    monkeypatch.setattr(saver_module, "BATCH_BYTES", 2 * driver.worker._gateway.block_bytes)
    real, count = client.gather, [0]

    def gather(target: int, pieces: Any) -> int:
        count[0] += 1
        return real(target, pieces) ^ (1 if count[0] == 2 else 0)

    monkeypatch.setattr(client, "gather", gather)
    sets = Spy(client, "set", monkeypatch)
    unsaved = Spy(driver.scheduler, "_forget_saved", monkeypatch)
    driver.compute(driver.request("r", prompt(6 * BLOCK, seed=10)), list(range(1, 7)))
    assert sets.count == 1
    driver.step()
    named = [(args[0].first, len(args[0].keys)) for args, _ in unsaved.calls]
    assert named == [(1, 1), (2, 2), (4, 2)]


def test_full_staging_drops_and_counts_without_waiting(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Driver(daemon.local_socket, staging_bytes=1 << 20)
    client = driver.worker._gateway.client
    held = []
    while address := client.staging_alloc(64 << 10):
        held.append(address)
    request = driver.request("r", prompt(16 * BLOCK, seed=4))
    driver.ask(request)
    driver.allocate(request, list(range(1, 17)), 0)
    driver.step({request: 16 * BLOCK})
    assert driver.counts()["dropped_blocks_staging"] == 16
    assert "staging_bytes = 1048576, of which 1048576 are in use; raise it" in caplog.text
    for address in held:
        client.staging_free(address)
    for _ in range(RETRY_STEPS - 1):
        driver.step({request: 0})
        assert driver.last_step.saves == []  # staging is given time to become free
    driver.step({request: 0})  # the blocks are still the request's
    driver.settle()
    assert driver.counts()["saved_blocks"] == 16
    driver.close()


def test_an_engine_without_staging_at_the_gateway_says_so_once_and_what_to_configure(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    others = []
    while len(others) < 40:  # each takes the most that the gateway grants
        others.append(Client(local_socket=daemon.local_socket, staging_bytes=256 << 20))
        others[-1].ping(timeout_ms=2000)
    driver = Driver(daemon.local_socket)
    for name, seed in (("r", 4), ("s", 5)):
        driver.compute(driver.request(name, prompt(4 * BLOCK, seed)), [1, 2, 3, 4], seed)
    counts = driver.counts()
    assert counts.get("saved_blocks", 0) == 0
    assert counts["save_miss_overloaded"] == 8
    assert caplog.text.count("no staging memory for a value of 8192 bytes") == 1
    assert "grants at most 1/8 of its memory" in caplog.text
    assert "raise memory of kvgated, or lower staging_bytes" in caplog.text
    driver.close()
    for other in others:
        other.close()


# ---- loads ------------------------------------------------------------------------------------


def test_verify_finds_bytes_that_did_not_arrive_in_the_layers(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt(4 * BLOCK, seed=5)
    driver.compute(driver.request("r", ids), [1, 2, 3, 4])
    client = driver.worker._gateway.client
    real = client.get_into

    def get_into(*args: Any, **named: Any) -> list[GetResult]:
        results = real(*args, **named)
        driver.tensors[LAYERS[1]][22] += 1  # another writer
        return results

    monkeypatch.setattr(client, "get_into", get_into)
    request = driver.request("again", [*ids, 7])
    driver.ask(request)
    driver.allocate(request, [20, 21, 22, 23, 24], 4 * BLOCK)
    assert driver.step_until_loaded(request) == {22, 23}
    assert driver.counts()["load_miss_checksum"] == 1


def test_an_exception_in_a_load_is_a_failed_load(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt(4 * BLOCK, seed=6)
    driver.compute(driver.request("r", ids), [1, 2, 3, 4])

    def get_into(*args: Any, **named: Any) -> list[GetResult]:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(driver.worker._gateway.client, "get_into", get_into)
    request = driver.request("again", [*ids, 7])
    driver.ask(request)
    driver.allocate(request, [20, 21, 22, 23, 24], 4 * BLOCK)
    assert driver.step_until_loaded(request) == {20, 21, 22, 23}


def test_a_worker_of_another_identity_loads_nothing(driver: Driver) -> None:
    ids = prompt(4 * BLOCK, seed=7)
    driver.compute(driver.request("r", ids), [1, 2, 3, 4])
    driver.worker._gateway.identity_digest = b"other"
    request = driver.request("again", [*ids, 7])
    driver.ask(request)
    driver.allocate(request, [20, 21, 22, 23, 24], 4 * BLOCK)
    assert driver.step_until_loaded(request) == {20, 21, 22, 23}
    assert "identities" in driver.scheduler.worker_problem


@pytest.mark.parametrize(("reason", "late"), [(Reason.DEADLINE, [True]), (Reason.IO_ERROR, [])])
def test_only_a_load_that_ended_well_or_too_late_is_a_measurement(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, reason: Reason, late: list[bool]
) -> None:
    ids = prompt(4 * BLOCK, seed=9)
    driver.compute(driver.request("r", ids), [1, 2, 3, 4])
    client, real = driver.worker._gateway.client, driver.worker._gateway.client.get_into

    def get_into(*args: Any, **named: Any) -> list[GetResult]:
        results = real(*args, **named)
        return [*results[:3], GetResult(reason, Tier.NONE, 0, 0)]

    monkeypatch.setattr(client, "get_into", get_into)
    times = Spy(driver.scheduler, "_learn_load_time", monkeypatch)
    request = driver.request("again", [*ids, 7])
    driver.ask(request)
    driver.allocate(request, [20, 21, 22, 23, 24], 4 * BLOCK)
    assert driver.step_until_loaded(request) == {23}
    assert [args[0].late for args, _ in times.calls] == late
    assert all(args[0].blocks == {"memory": 3} for args, _ in times.calls)
    assert driver.counts()[f"load_miss_{reason.name.lower()}"] == 1


def test_reasons_of_misses_are_counted(driver: Driver) -> None:
    ids = prompt(2 * BLOCK, seed=8)
    driver.compute(driver.request("r", ids), [1, 2])
    request = driver.request("again", [*ids, 7])
    driver.ask(request)
    driver.client.unpin(
        driver.scheduler._gateway.ns, driver.scheduler._states["again"].claim.pin_token
    )
    driver.allocate(request, [20, 21, 22], 2 * BLOCK)
    assert driver.step_until_loaded(request) == {20, 21}
    assert driver.counts()[f"load_miss_{Reason.STALE_TOKEN.name.lower()}"] == 1
