# SPDX-License-Identifier: Apache-2.0
"""The gateway absent, killed, stopped, restarted: calls end by their deadlines, with reasons."""

import ctypes
import os
import signal
import threading

import client_world as world
import kvgate
import pytest
from client_world import eventually, keys, load, store, timed, values
from kvgate import Code, Durability, Reason

# Used again within a second of its return; ten times that is a hang.
RETURN_S = 10.0
AWAY = {Reason.UNAVAILABLE, Reason.DEADLINE}


@pytest.fixture(params=world.TRANSPORTS)
def transport(request):
    return request.param


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def client(daemon, transport):
    with world.connect(daemon, transport) as one:
        yield one


@pytest.fixture
def ns(client):
    opened = client.open(world.identity(), timeout_ms=10_000)
    assert opened.available, opened.error
    return opened


def usable(client, ns) -> bool:
    return client.lookup(ns, [b"k0"], timeout_ms=1000).code == Code.OK


def all_calls(client, ns, deadline_ms):
    """Every call once; none may raise or come back late."""
    memory = ctypes.create_string_buffer(10)
    target = [[(ctypes.addressof(memory), 10)]]
    return [
        timed(deadline_ms, call)
        for call in (
            lambda: client.open(world.identity(), timeout_ms=deadline_ms).code,
            lambda: client.lookup(ns, keys(3), timeout_ms=deadline_ms).code,
            lambda: client.get_into(ns, target, keys=[b"k"], timeout_ms=deadline_ms)[0].reason,
            lambda: client.get_into(ns, target, pin_token=5, timeout_ms=deadline_ms)[0].reason,
            lambda: store(client, ns, [b"k"], [b"v"], timeout_ms=deadline_ms)[0],
            lambda: client.offer(ns, [b"k"], [1], timeout_ms=deadline_ms).code,
            lambda: client.delete(ns, [b"k"], timeout_ms=deadline_ms).code,
            lambda: client.touch(ns, b"k", timeout_ms=deadline_ms),
            lambda: client.pin(ns, 5, 100, timeout_ms=deadline_ms),
            lambda: client.unpin(ns, 5, timeout_ms=deadline_ms),
            lambda: client.ping(timeout_ms=deadline_ms),
        )
    ]


def test_an_absent_gateway_makes_misses_and_is_used_once_it_is_there(start, transport):
    absent = start.folder / "late"
    options = {
        "local_socket": str(absent / "run" / "local.sock"),
        "grpc_target": f"unix:{absent}/run/grpc.sock",
    }
    with kvgate.Client(transport, **options) as client:
        ns = client.open(world.identity(), timeout_ms=100)
        assert (ns.available, ns.code) == (False, Code.UNAVAILABLE)
        assert ns.ns != 0
        for _ in range(3):
            answers = all_calls(client, ns, 100)
            assert answers[2] == Reason.UNAVAILABLE
        assert client.stats().transport == "none"
        start(data_dir=absent)
        eventually(lambda: usable(client, ns), RETURN_S)
        assert store(client, ns, keys(2), values(2)) == [Reason.OK] * 2
        assert client.open(world.identity(), timeout_ms=10_000).available


def test_a_killed_gateway_makes_misses_and_gives_its_blocks_back_after_restart(daemon, client, ns):
    contents = values(10, 100_000)
    stored = store(client, ns, keys(10), contents, durability=Durability.LOGGED)
    assert stored == [Reason.OK] * 10
    daemon.kill()
    for _ in range(3):
        answers = all_calls(client, ns, 100)
        assert answers[2] in AWAY
    daemon.start()
    eventually(lambda: client.lookup(ns, keys(10), timeout_ms=1000).held == 10, RETURN_S)
    assert load(client, ns, keys(10), 100_000) == contents
    assert client.stats().reconnects >= 1


def test_a_restart_between_two_calls_is_not_noticed(daemon, client, ns):
    contents = values(3, 100_000)
    store(client, ns, keys(3), contents, durability=Durability.LOGGED)
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: load(client, ns, keys(3), 100_000, timeout_ms=5000) == contents, RETURN_S)


def test_a_stopped_gateway_costs_deadlines_and_works_when_it_goes_on(daemon, client, ns):
    store(client, ns, keys(3), values(3))
    daemon.freeze()
    try:
        for _ in range(3):
            answers = all_calls(client, ns, 100)
            assert answers[2] in AWAY
        # The breaker has opened by now: no call is tried.
        assert client.stats().breaker_opens >= 1
    finally:
        daemon.send(signal.SIGCONT)
    eventually(lambda: client.lookup(ns, keys(3), timeout_ms=1000).held == 3, RETURN_S)


def test_nothing_is_written_after_a_call_has_timed_out(daemon, client, ns):
    size = 4 << 20
    store(client, ns, [b"k"], values(1, size))
    memory = ctypes.create_string_buffer(b"#" * size, size)
    daemon.freeze()
    try:
        target = [[(ctypes.addressof(memory), size)]]
        (result,) = client.get_into(ns, target, keys=[b"k"], timeout_ms=50)
        assert result.reason in AWAY
        assert memory.raw == b"#" * size
    finally:
        daemon.send(signal.SIGCONT)
    # Whatever was late has arrived before later calls are answered on the same connection.
    eventually(lambda: load(client, ns, [b"k"], size, timeout_ms=5000) != [None], RETURN_S)
    assert memory.raw == b"#" * size


def test_a_pin_token_does_not_outlive_the_gateway(daemon, client, ns):
    store(client, ns, keys(3), values(3), durability=Durability.LOGGED)
    token = client.lookup(ns, keys(3), pin_ms=30_000, timeout_ms=10_000).pin_token
    assert token != 0
    daemon.kill()
    daemon.start()
    eventually(lambda: usable(client, ns), RETURN_S)
    memory = ctypes.create_string_buffer(1000)
    target = [[(ctypes.addressof(memory), 1000)]]
    (result,) = client.get_into(ns, target, pin_token=token, timeout_ms=10_000)
    assert result.reason == Reason.STALE_TOKEN
    assert client.pin(ns, token, 1000, timeout_ms=10_000) == 0


def test_kills_under_load_give_no_wrong_byte_and_no_late_call(daemon, client, ns):
    names, contents = keys(40), values(40, 50_000)
    store(client, ns, names, contents, durability=Durability.LOGGED)
    over, wrong, loaded = threading.Event(), [], []

    def work(offset):
        while not over.is_set():
            part = slice(offset, offset + 10)
            got = timed(500, lambda part=part: client.get(ns, names[part], 50_000, timeout_ms=500))
            bad = [
                i
                for i, (g, c) in enumerate(zip(got, contents[part], strict=True))
                if g is not None and g != c
            ]
            wrong.extend(bad)
            loaded.append(sum(g is not None for g in got))

    def guarded(offset):
        try:
            work(offset)
        except AssertionError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=guarded, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            daemon.kill()
            daemon.start()
            before = sum(loaded)
            eventually(lambda before=before: sum(loaded) > before + 40)
    finally:
        over.set()
        for thread in threads:
            thread.join(world.HANG_S)
    assert wrong == []


def test_staging_memory_of_a_dead_gateway_stays_good(daemon, client, ns):
    address = client.staging_alloc(100_000)
    ctypes.memset(address, 0x41, 100_000)
    daemon.kill()
    assert client.crc32c([(address, 100_000)]) != 0
    other = client.staging_alloc(1000)
    assert other != 0
    daemon.start()
    eventually(lambda: usable(client, ns), RETURN_S)
    assert store(client, ns, [b"k"], [[(address, 100_000)]]) == [Reason.OK]
    client.staging_free(address)
    client.staging_free(other)
    assert load(client, ns, [b"k"], 100_000) == [b"A" * 100_000]


def test_a_forked_child_gets_misses_and_harms_nothing(client, ns):
    store(client, ns, keys(1), values(1))
    child = os.fork()
    if child == 0:
        # No assertion and no exit handler may run twice: only the status speaks.
        reason = store(client, ns, [b"c"], [b"v"], timeout_ms=1000)[0]
        os._exit(0 if reason == Reason.UNAVAILABLE else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert client.lookup(ns, keys(1), timeout_ms=10_000).held == 1
