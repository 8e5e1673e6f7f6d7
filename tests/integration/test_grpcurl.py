# SPDX-License-Identifier: Apache-2.0
"""grpcurl for real: reflection, health, Lookup and Stats, with no .proto at hand."""

import base64
import json
import os
import subprocess

import harness
import pytest
from harness import value_of


@pytest.fixture
def grpcurl():
    program = os.environ.get("GRPCURL")
    if not program:
        pytest.fail("GRPCURL does not name a program: run ./dev test integration")

    def run(socket, method, message=None):
        command = [program, "-plaintext", "-unix"]
        if message is not None:
            command += ["-d", json.dumps(message)]
        done = subprocess.run(
            [*command, str(socket), method], capture_output=True, text=True, timeout=harness.HANG_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_lists_the_services(daemon, grpcurl):
    listed = grpcurl(daemon.run_dir / "grpc.sock", "list").split()
    assert {"kvgate.v1.KvCache", "grpc.health.v1.Health"} <= set(listed)
    assert "kvgate.v1.Admin" not in listed
    assert "kvgate.v1.Admin" in grpcurl(daemon.run_dir / "admin.sock", "list").split()


def test_it_asks_for_health(daemon, grpcurl):
    socket = daemon.run_dir / "grpc.sock"
    for service in ("", "kvgate.v1.KvCache"):
        answer = json.loads(grpcurl(socket, "grpc.health.v1.Health/Check", {"service": service}))
        assert answer == {"status": "SERVING"}


def test_it_looks_up_a_chain(daemon, client, grpcurl):
    client.set({b"curl-0": value_of(b"curl-0", 4000)})
    keys = [base64.b64encode(key).decode() for key in (b"curl-0", b"curl-1")]
    message = {"namespace": str(client.ns), "queries": [{"keys": keys}]}
    answer = json.loads(grpcurl(daemon.run_dir / "grpc.sock", "kvgate.v1.KvCache/Lookup", message))
    assert answer["groups"][0]["held"] == 1
    assert answer["boundary_tokens"] == 32


def test_it_gets_what_was_encoded_by_hand(daemon, client, grpcurl):
    client.set({b"curl-get": b"payload"})
    message = {
        "namespace": str(client.ns),
        "keys": [base64.b64encode(b"curl-get").decode()],
    }
    answer = json.loads(grpcurl(daemon.run_dir / "grpc.sock", "kvgate.v1.KvCache/Get", message))
    assert base64.b64decode(answer["values"][0]) == b"payload"
    assert answer["results"][0]["state"] == "GET_STATE_OK"


def test_it_reads_stats(daemon, client, grpcurl):
    client.open(alias="curl-alias", model="curl-model")
    answer = json.loads(grpcurl(daemon.run_dir / "admin.sock", "kvgate.v1.Admin/Stats", {}))
    assert answer["version"] == (harness.ROOT / "VERSION").read_text().strip()
    assert {"requests_Open_total", "memory_limit_bytes"} <= {c["name"] for c in answer["counters"]}
    names = [(ns["model"], ns["alias"]) for ns in answer["namespaces"] if "alias" in ns]
    assert ("curl-model", "curl-alias") in names


def test_it_scans_keys(daemon, client, grpcurl):
    client.open(model="scan-model")
    client.set({f"scan-{i}".encode(): b"x" * 10 for i in range(5)})
    digest = base64.b64encode(client.open(model="scan-model").identity_digest).decode()
    found, cursor = [], None
    for _ in range(10):
        message = {"identity_digest": digest, "limit": 2}
        if cursor:
            message["cursor"] = cursor
        answer = json.loads(grpcurl(daemon.run_dir / "admin.sock", "kvgate.v1.Admin/Scan", message))
        found += [base64.b64decode(entry["key"]) for entry in answer.get("entries", [])]
        cursor = answer.get("next_cursor")
        if not cursor:
            break
    assert sorted(found) == [f"scan-{i}".encode() for i in range(5)]


def test_the_admin_socket_is_for_its_owner_only(daemon):
    assert (daemon.run_dir / "admin.sock").stat().st_mode & 0o777 == 0o600
    assert daemon.run_dir.stat().st_mode & 0o777 == 0o750


def test_reflection_ends_at_loopback(start):
    daemon = start(*harness.SMALL, "--grpc-tcp=0.0.0.0:0", "--allow-unpatched-grpc-tcp=true")
    port = daemon.ready["tcp"].rsplit(":", 1)[1]
    command = [os.environ["GRPCURL"], "-plaintext", f"127.0.0.1:{port}", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=harness.HANG_S)
    assert done.returncode != 0
    assert "does not support the reflection API" in done.stderr
    assert daemon.client(f"127.0.0.1:{port}").open().namespace
