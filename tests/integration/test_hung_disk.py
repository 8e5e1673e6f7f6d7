# SPDX-License-Identifier: Apache-2.0
"""A device that hangs: nobody waits for it longer than was said, and a stop ends."""

import threading
import time

import grpc
import harness
import health
import hung_device
import pytest
from harness import pb, value_of

STUCK = 3  # kExitStuck of gateway/stop_guard.h
FLAGS = (*harness.SMALL, *hung_device.FLAGS)


def opened(daemon):
    client = daemon.client()
    client.open()
    return client


def set_later(client, key):
    """A Set whose answer waits for the device."""
    request = pb().SetRequest(
        namespace=client.ns,
        entries=[pb().SetEntry(key=key, value_bytes=5000)],
        values=[value_of(key, 5000)],
        durability=pb().DURABILITY_LOGGED,
    )
    return client.rpc.Set.future(request, timeout=harness.HANG_S)


def test_a_stop_does_not_wait_for_a_write_that_never_ends(start, device):
    daemon = start(*FLAGS, "--drain-ms=2000", wrapper=device.wrapper)
    client = opened(daemon)
    client.set({b"before": value_of(b"before", 5000)}, durability=pb().DURABILITY_LOGGED)
    device.hang()
    call = set_later(client, b"stuck")
    device.wait_until_hit()
    assert daemon.stop() == STUCK
    assert "stop: not ended after" in daemon.text()
    # The answer came within the limit: in memory, but not logged.
    assert call.result().results[0].state == pb().SET_STATE_TIMED_OUT

    device.come_back()
    daemon.start()
    assert opened(daemon).get([b"before"]).values[0] == value_of(b"before", 5000)


def test_a_stop_does_not_wait_for_a_read_that_never_ends(start, device):
    daemon = start(*FLAGS, "--drain-ms=2000", wrapper=device.wrapper)
    opened(daemon).set({b"k": value_of(b"k", 5000)}, durability=pb().DURABILITY_LOGGED)
    assert daemon.stop() == 0
    daemon.start()
    client = opened(daemon)
    device.hang()
    request = pb().GetRequest(namespace=client.ns, keys=[b"k"])
    call = client.rpc.Get.future(request, timeout=harness.HANG_S)
    device.wait_until_hit()
    assert daemon.stop() == STUCK
    assert call.result().results[0].state == pb().GET_STATE_NOT_READY


def test_while_it_drains_health_says_so_and_running_calls_end_well(start, device):
    daemon = start(*FLAGS, "--drain-ms=60000", wrapper=device.wrapper)
    client = opened(daemon)
    assert health.check(client.channel) == health.SERVING
    assert health.check(client.channel, "kvgate.v1.KvCache") == health.SERVING
    device.hang()
    call = set_later(client, b"running")
    device.wait_until_hit()

    stopped = []
    stopper = threading.Thread(target=lambda: stopped.append(daemon.stop()))
    stopper.start()
    limit = time.monotonic() + harness.HANG_S
    while health.check(client.channel) != health.NOT_SERVING:
        assert time.monotonic() < limit
    assert health.check(client.channel, "kvgate.v1.KvCache") == health.NOT_SERVING
    with pytest.raises(grpc.RpcError) as refused:
        client.set({b"new": b"x"})
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "draining" in refused.value.details()
    assert not call.done()

    device.come_back()
    result = call.result().results[0]
    assert result.state == pb().SET_STATE_STORED
    assert result.durability == pb().DURABILITY_LOGGED
    stopper.join(harness.HANG_S)
    assert stopped == [0]


def test_while_it_recovers_no_door_is_open(start, device):
    daemon = start(*FLAGS, wrapper=device.wrapper)
    opened(daemon).set({b"k": value_of(b"k", 5000)}, durability=pb().DURABILITY_LOGGED)
    daemon.kill()
    device.hang()
    starter = threading.Thread(target=daemon.start)
    starter.start()
    device.wait_until_hit()
    with daemon.channel() as channel, pytest.raises(grpc.RpcError) as unreachable:
        health.check(channel)
    assert unreachable.value.code() == grpc.StatusCode.UNAVAILABLE

    device.come_back()
    starter.join(harness.HANG_S)
    client = opened(daemon)
    assert health.check(client.channel) == health.SERVING
    assert client.get([b"k"]).values[0] == value_of(b"k", 5000)
