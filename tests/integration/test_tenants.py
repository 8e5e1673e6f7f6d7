# SPDX-License-Identifier: Apache-2.0
"""A tenant comes from the socket file that a client came through."""

import importlib

import grpc
import harness
import pytest
from harness import pb


@pytest.fixture
def daemon(start):
    tcp = ("--grpc-tcp=0", "--grpc-tcp-tenant=red")
    return start(*harness.SMALL, "--tenants=default,blue", *tcp)


@pytest.fixture
def doors(daemon):
    targets = (f"unix:{daemon.run_dir}/grpc.sock", f"unix:{daemon.run_dir}/grpc-blue.sock")
    return [daemon.client(target) for target in (*targets, daemon.ready["tcp"])]


def test_the_same_identity_is_another_namespace_for_each_tenant(doors):
    handles = [client.open().namespace for client in doors]
    assert len(set(handles)) == 3


def test_no_tenant_sees_another_s_values(doors):
    for client in doors:
        client.open()
    doors[0].set({b"secret": b"value"})
    for client in doors[1:]:
        assert client.get([b"secret"]).results[0].state == pb().GET_STATE_MISS


def test_a_stolen_handle_is_unknown_to_another_tenant(doors):
    for client in doors:
        client.open()
    with pytest.raises(grpc.RpcError) as caught:
        doors[1].get([b"secret"], ns=doors[0].ns)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def scan(daemon, **fields):
    module = importlib.import_module("proto.kvgate.v1.admin_pb2_grpc")
    with daemon.channel(f"unix:{daemon.run_dir}/admin.sock") as channel:
        request = harness.admin_pb().ScanRequest(**fields)
        return module.AdminStub(channel).Scan(request, timeout=harness.HANG_S)


def test_scan_shows_the_keys_of_all_tenants_of_an_identity(daemon, doors):
    for client in doors:
        digest = client.open().identity_digest
    doors[1].set({b"of-b": b"1", b"of-b-too": b"2"})
    doors[2].set({b"of-c": b"3"})
    found, cursor = set(), b""
    while True:
        page = scan(daemon, identity_digest=digest, cursor=cursor, limit=1)
        found |= {(entry.tenant, entry.key) for entry in page.entries}
        cursor = page.next_cursor
        if not cursor:
            break
    assert len({tenant for tenant, _ in found}) >= 2
    assert {b"of-b", b"of-b-too", b"of-c"} <= {key for _, key in found}


@pytest.mark.parametrize("cursor", [b"x", b"\xff" * 27, b"a" * 1000])
def test_scan_refuses_a_cursor_that_nobody_gave(daemon, cursor):
    with pytest.raises(grpc.RpcError) as caught:
        scan(daemon, cursor=cursor)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"cursor: {len(cursor)} bytes" in caught.value.details()


def test_several_tenants_have_no_local_doors(daemon, doors):
    assert daemon.ready["local"] == "off"
    assert "no local doors" in daemon.text()
    assert not list(daemon.run_dir.glob("local*.sock"))
    assert doors[0].open().local_socket == ""


def test_a_tenant_of_its_own_on_tcp_closes_the_local_door_too(start):
    daemon = start(*harness.SMALL, "--grpc-tcp=0", "--grpc-tcp-tenant=red")
    assert daemon.ready["local"] == "off"
