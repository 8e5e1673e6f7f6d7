# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, and clients that give up: nothing is held afterwards."""

import random
import threading
import time

import grpc
import harness
import raw_http2
from harness import pb, value_of


def run_all(work, count):
    """work(number) in `count` threads; a failure in one fails the test."""
    failures = []

    def one(number):
        try:
            work(number)
        except Exception as error:  # handed to the test below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.HANG_S)
        assert not thread.is_alive()
    assert not failures, failures[0]


def check(keys, answer):
    """Any key may have been evicted, none may have wrong bytes."""
    held = [
        key
        for key, result in zip(keys, answer.results, strict=True)
        if result.state == pb().GET_STATE_OK
    ]
    size = len(answer.values[0]) if held else 0
    assert list(answer.values) == [value_of(key, size) for key in held]


def wait_for_zero(daemon, *names):
    limit = time.monotonic() + harness.HANG_S
    while True:
        stats = daemon.stats()
        left = {name: stats[name] for name in names if stats[name] != 0}
        if not left:
            return
        assert time.monotonic() < limit, left
        time.sleep(0.01)


def test_many_clients_read_and_write_their_own_values(start):
    daemon = start()

    def work(number):
        client = daemon.client()
        client.open()
        for i in range(30):
            keys = [f"c{number}-{i}-{j}".encode() for j in range(4)]
            client.set({key: value_of(key, 70_000) for key in keys})
            check(keys, client.get(keys))
        client.channel.close()

    run_all(work, 8)
    wait_for_zero(daemon, "grpc_unsent_bytes")


def test_clients_that_give_up_leave_nothing_behind(start):
    daemon = start()
    owner = daemon.client()
    owner.open()
    keys = [f"storm-{i}".encode() for i in range(16)]
    owner.set({key: value_of(key, 1 << 20) for key in keys})

    def work(number):
        chance = random.Random(number)
        client = daemon.client()
        client.open()
        for i in range(60):
            timeout = chance.uniform(0.001, 0.02)
            new = f"new-{number}-{i}".encode()
            try:
                if i % 3 == 0:
                    client.set({new: value_of(new, 1 << 20)}, timeout=timeout)
                elif i % 3 == 1:
                    check(keys, client.get(keys, timeout=timeout))
                else:
                    request = pb().GetRequest(namespace=client.ns, keys=keys)
                    call = client.rpc.Get.future(request, timeout=5)
                    call.cancel()
            except grpc.RpcError as error:
                assert error.code() in (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    grpc.StatusCode.CANCELLED,
                ), error
        client.channel.close()

    run_all(work, 8)
    owner.channel.close()
    wait_for_zero(daemon, "grpc_unsent_bytes", "loads_in_flight")
    fresh = daemon.client()
    fresh.open()
    fresh.set({b"after": b"the storm"})
    assert fresh.get([b"after"]).values[0] == b"the storm"
    assert daemon.stop() == 0


def test_pool_bytes_of_unsent_answers_are_given_back(start):
    """Large answers to many connections at once are sent, or NOT_SENT, and held no longer."""
    daemon = start()
    writer = daemon.client()
    writer.open()
    value = value_of(b"heavy", 32 << 20)
    writer.set({b"heavy": value})
    calls = []
    for _ in range(12):
        reader = daemon.client()
        reader.open()
        request = pb().GetRequest(namespace=reader.ns, keys=[b"heavy"])
        calls.append((reader, reader.rpc.Get.future(request, timeout=harness.HANG_S)))
    sent = 0
    for reader, call in calls:
        answer = call.result()
        if answer.results[0].state == pb().GET_STATE_OK:
            assert list(answer.values) == [value]
            sent += 1
        else:
            assert answer.results[0].state == pb().GET_STATE_NOT_SENT
            assert not answer.values
        reader.channel.close()
    assert sent >= 1
    wait_for_zero(daemon, "grpc_unsent_bytes")


def test_a_client_that_never_reads_takes_nothing_from_others(start):
    daemon = start()
    client = daemon.client()
    client.open()
    keys = [f"part-{i}".encode() for i in range(64)]
    for key in keys:
        client.set({key: value_of(key, 1 << 20)})
    ask = pb().GetRequest(namespace=client.ns, keys=keys).SerializeToString()
    with raw_http2.never_read(
        daemon.run_dir / "grpc.sock", "/kvgate.v1.KvCache/Get", [ask, ask, ask]
    ):
        limit = time.monotonic() + harness.HANG_S
        while daemon.stats()["grpc_unsent_bytes"] < 64 << 20:
            assert time.monotonic() < limit
        for key in keys:
            assert client.get([key]).values[0] == value_of(key, 1 << 20)
        # Its calls came without deadlines: the daemon ends them, though the connection stays.
        wait_for_zero(daemon, "grpc_unsent_bytes")
        check(keys, client.get(keys))
