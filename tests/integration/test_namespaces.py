# SPDX-License-Identifier: Apache-2.0
"""Limits of namespaces, and those that make room at them."""

import grpc
import harness
import pytest
from client_world import eventually

FLAGS = (*harness.SMALL, "--namespaces-a-tenant-max=2", "--namespace-idle-s=1")


def opens(client, **identity):
    try:
        return client.open(**identity).namespace
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        return 0


def test_an_idle_empty_namespace_makes_room_and_comes_back(start):
    daemon = start(*FLAGS)
    full, empty, third = daemon.client(), daemon.client(), daemon.client()
    full.open(model="full")
    full.set({b"k": b"value"})
    handle = empty.open(model="empty").namespace
    eventually(lambda: opens(third, model="third"))
    assert full.get([b"k"]).values == [b"value"]
    with pytest.raises(grpc.RpcError) as caught:
        empty.get([b"k"])
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    eventually(lambda: opens(empty, model="empty"))
    assert empty.ns == handle
    assert not list(empty.get([b"k"]).values)
    assert daemon.stats("namespaces_")["namespaces_collected_total"] >= 2


def test_a_namespace_with_an_alias_stays(start):
    daemon = start(*harness.SMALL, "--namespaces-a-tenant-max=1", "--namespace-idle-s=1")
    named, other = daemon.client(), daemon.client()
    named.open(alias="prod", model="a")
    daemon.stop()
    daemon.start()  # nobody has used it since
    with pytest.raises(grpc.RpcError) as caught:
        other.open(model="b")
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "namespaces_a_tenant_max" in caught.value.details()


def test_after_a_restart_what_nobody_opened_and_is_empty_makes_room(start):
    daemon = start(*harness.SMALL, "--namespaces-a-tenant-max=1", "--namespace-idle-s=86400")
    daemon.client().open(model="a")
    with pytest.raises(grpc.RpcError):
        daemon.client().open(model="b")
    daemon.stop()
    daemon.start()
    assert daemon.client().open(model="b").namespace
