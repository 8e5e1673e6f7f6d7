# SPDX-License-Identifier: Apache-2.0
"""A tenant comes from the socket file that a client came through."""

import grpc
import harness
import pytest
from harness import pb


@pytest.fixture
def doors(start):
    tcp = ("--grpc-tcp=0", "--grpc-tcp-tenant=red")
    daemon = start(*harness.SMALL, "--tenants=default,blue", *tcp)
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
