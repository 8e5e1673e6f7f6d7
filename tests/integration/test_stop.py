# SPDX-License-Identifier: Apache-2.0
"""A graceful stop waits for running calls; a client that does nothing, or is frozen, has none."""

import signal
import subprocess
import sys
import time

import harness
import pytest
import raw_http2
from harness import pb, value_of

# Ten times what closing all doors may take when no call runs (250 ms a door, two doors).
STOP_S = 6.0
_CLIENT = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
grpc.channel_ready_future(channel).result()
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def frozen_client():
    """frozen_client(target): a process with an open channel, stopped."""
    processes = []

    def freeze(target):
        process = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout.readline() == b"connected\n"
        process.send_signal(signal.SIGSTOP)

    yield freeze
    for process in processes:
        process.kill()
        process.communicate()


def ends(daemon):
    """Whether it ends by itself, well before anything would time out."""
    daemon.send(signal.SIGTERM)
    daemon.wait(STOP_S)
    assert daemon.stop() == 0
    assert "still run" not in daemon.text()


# Longer than any test may take: nothing here may wait for it.
PATIENT = (*harness.SMALL, "--drain-ms=600000")


def test_a_frozen_client_does_not_hold_the_stop(start, frozen_client):
    daemon = start(*PATIENT)
    frozen_client(f"unix:{daemon.run_dir}/grpc.sock")
    ends(daemon)


def test_a_frozen_operator_does_not_hold_the_stop(start, frozen_client):
    daemon = start(*PATIENT)
    frozen_client(f"unix:{daemon.run_dir}/admin.sock")
    ends(daemon)


def test_a_frozen_client_by_tcp_does_not_hold_the_stop(start, frozen_client):
    daemon = start(*PATIENT, "--grpc-tcp=0")
    frozen_client(daemon.ready["tcp"])
    ends(daemon)


def test_a_request_that_is_sent_by_half_does_not_hold_the_stop(start):
    daemon = start(*PATIENT)
    with raw_http2.half_sent(daemon.run_dir / "grpc.sock", "/kvgate.v1.KvCache/Set", 1 << 20):
        ends(daemon)


def test_an_idle_client_does_not_hold_the_stop(start):
    daemon = start(*PATIENT)
    client = daemon.client()
    client.open()
    ends(daemon)
    client.channel.close()


def test_an_answer_that_nobody_reads_is_given_up_at_the_limit(start):
    daemon = start(*harness.SMALL, "--drain-ms=1000")
    client = daemon.client()
    client.open()
    keys = [f"k{i}".encode() for i in range(16)]
    client.set({key: value_of(key, 1 << 20) for key in keys})
    ask = pb().GetRequest(namespace=client.ns, keys=keys).SerializeToString()
    with raw_http2.never_read(daemon.run_dir / "grpc.sock", "/kvgate.v1.KvCache/Get", [ask]):
        limit = time.monotonic() + harness.HANG_S
        while daemon.stats()["grpc_unsent_bytes"] == 0:
            assert time.monotonic() < limit
        assert daemon.stop() == 0
    assert "stop: 1 gRPC calls still run and are cancelled" in daemon.text()
