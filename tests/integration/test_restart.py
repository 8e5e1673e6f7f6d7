# SPDX-License-Identifier: Apache-2.0
"""What a client finds after the daemon was stopped or killed and started again."""

import signal
import threading

import grpc
import harness
import pytest
from harness import pb, value_of

KEYS = [f"block-{i}".encode() for i in range(20)]


def store_all(client):
    values = {key: value_of(key, 300_000) for key in KEYS}
    answer = client.set(values, durability=pb().DURABILITY_LOGGED)
    assert {result.state for result in answer.results} == {pb().SET_STATE_STORED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_values_are_found_again_after_restart(start, number):
    daemon = start()
    client = daemon.client()
    first = client.open()
    store_all(client)
    status = daemon.stop(number)
    assert status == (0 if number == signal.SIGTERM else -signal.SIGKILL)

    daemon.start()
    client = daemon.client()
    second = client.open()
    assert second.incarnation != first.incarnation
    assert client.lookup(KEYS).groups[0].held == len(KEYS)
    answer = client.get(KEYS)
    assert list(answer.values) == [value_of(key, 300_000) for key in KEYS]
    assert {result.tier for result in answer.results} == {pb().TIER_DISK}


def test_what_was_deleted_stays_away_after_a_kill(start):
    daemon = start()
    client = daemon.client()
    client.open()
    store_all(client)
    client.delete(KEYS[:5])
    daemon.kill()
    daemon.start()
    client = daemon.client()
    client.open()
    states = [result.state for result in client.get(KEYS).results]
    assert states == [pb().GET_STATE_MISS] * 5 + [pb().GET_STATE_OK] * 15


def test_buffered_values_are_written_by_a_graceful_stop(start):
    daemon = start()
    client = daemon.client()
    client.open()
    client.set({key: value_of(key, 10_000) for key in KEYS}, durability=pb().DURABILITY_BUFFERED)
    assert daemon.stop() == 0
    daemon.start()
    client = daemon.client()
    client.open()
    assert list(client.get(KEYS).values) == [value_of(key, 10_000) for key in KEYS]


def test_an_old_handle_is_unknown_to_the_new_incarnation(start):
    daemon = start()
    client = daemon.client()
    client.open()
    daemon.kill()
    daemon.start()
    with pytest.raises(grpc.RpcError) as caught:
        daemon.client().get([b"k"], ns=client.ns)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "open again" in caught.value.details()


def test_a_graceful_stop_finishes_running_calls(start):
    """Every answer that a client got before the end is complete, and the exit is 0."""
    daemon = start()
    clients = [daemon.client() for _ in range(4)]
    for client in clients:
        client.open()
    acknowledged, stopping = [], threading.Event()

    def write(number, client):
        for i in range(10_000):
            key = f"w{number}-{i}".encode()
            try:
                answer = client.set(
                    {key: value_of(key, 20_000)}, durability=pb().DURABILITY_LOGGED, timeout=20
                )
            except grpc.RpcError as error:
                assert error.code() in (
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.CANCELLED,
                ), error
                return
            if answer.results[0].state == pb().SET_STATE_STORED:
                acknowledged.append(key)
            if len(acknowledged) >= 50:
                stopping.set()

    threads = [
        threading.Thread(target=write, args=(number, client))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    assert stopping.wait(harness.HANG_S)
    assert daemon.stop() == 0
    for thread in threads:
        thread.join(harness.HANG_S)
        assert not thread.is_alive()
    daemon.start()
    client = daemon.client()
    client.open()
    for key in acknowledged:
        assert list(client.get([key]).values) == [value_of(key, 20_000)]


def test_several_directories_hold_one_cache(start):
    folders = [start.folder / name for name in ("a", "b", "c")]
    flags = [*harness.SMALL, *(f"--data-dir={folder}" for folder in folders[1:])]
    daemon = start(*flags, data_dir=folders[0])
    client = daemon.client()
    client.open()
    store_all(client)
    daemon.kill()
    daemon.start()
    client = daemon.client()
    client.open()
    assert list(client.get(KEYS).values) == [value_of(key, 300_000) for key in KEYS]
    assert all((folder / "kvgate.data").exists() for folder in folders)
