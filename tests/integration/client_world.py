# SPDX-License-Identifier: Apache-2.0
"""Clients of the package `kvgate` against a daemon of harness.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import kvgate
import pytest
from kvgate import Code, Reason, SetEntry

HANG_S = 60.0
# A promise is "by the deadline"; ten times that finds a hang and nothing else.
SLACK = 10
TRANSPORTS = ("local", "grpc")

if not os.environ.get("KVGATE_LIB"):
    pytest.exit("KVGATE_LIB does not name libkvgate.so: run ./dev test integration", returncode=1)


def identity(**fields) -> kvgate.Identity:
    usual = {
        "model": "client-test",
        "weights_id": "w1",
        "layout": "opaque",
        "groups": (kvgate.KvGroup(kvgate.GroupKind.FULL_ATTENTION, 16, ("a",), "spec", 4096),),
    }
    return kvgate.Identity(**{**usual, **fields})


def connect(daemon, transport: str, **options) -> kvgate.Client:
    options.setdefault("local_socket", f"{daemon.run_dir}/local.sock")
    options.setdefault("grpc_target", f"unix:{daemon.run_dir}/grpc.sock")
    return kvgate.Client(transport, client_name="test", **options)


def keys(count: int, name: str = "k") -> list[bytes]:
    return [f"{name}{i}".encode() for i in range(count)]


def values(count: int, size: int = 1000) -> list[bytes]:
    return [os.urandom(size) for _ in range(count)]


def store(client, ns, names, contents, **options) -> list[Reason]:
    entries = [SetEntry(k, v) for k, v in zip(names, contents, strict=True)]
    options.setdefault("timeout_ms", HANG_S * 1000)
    return [r.reason for r in client.set(ns, entries, **options)]


def load(client, ns, names, size, **options) -> list[bytes | None]:
    options.setdefault("timeout_ms", HANG_S * 1000)
    return client.get(ns, names, size, **options)


def eventually(check: Callable[[], bool], limit_s: float = HANG_S) -> None:
    """Asks again until it is so; the pause only spares the processor."""
    end = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def timed(deadline_ms: float, call: Callable):
    """The answer of a call that must be back by its deadline."""
    began = time.monotonic()
    answer = call()
    took_ms = (time.monotonic() - began) * 1000
    assert took_ms < deadline_ms * SLACK, f"{took_ms:.0f} ms for a deadline of {deadline_ms} ms"
    return answer


def alive(client) -> bool:
    return client.ping(timeout_ms=1000) == Code.OK
