# SPDX-License-Identifier: Apache-2.0
"""The receive budget of a gRPC door: what is beyond it is refused before it is sent."""

import time

import grpc
import harness
import hung_device
import pytest
from harness import pb, value_of
from test_load import run_all, wait_for_zero

MIB = 1 << 20
# Four values of 16 MiB fit into 70 MiB.
FLAGS = ("--memory=768MiB", "--disk=1GiB", "--receive-bytes=70MiB")
WANTED, HELD, NOT_ADMITTED = 1, 2, 4


@pytest.fixture
def door(start):
    daemon = start(*FLAGS)
    client = daemon.client()
    client.open()
    return daemon, client


def names(count, name="k"):
    return [f"{name}{i}".encode() for i in range(count)]


def offer(client, keys, size=16 * MIB, **fields):
    request = pb().OfferRequest(
        namespace=client.ns, keys=keys, value_bytes=[size] * len(keys), **fields
    )
    return client.rpc.Offer(request, timeout=harness.HANG_S)


def refused_keys(daemon):
    return daemon.stats()["grpc_offer_keys_refused_total"]


def test_an_offer_above_the_budget_is_not_admitted(door):
    daemon, client = door
    keys = names(10)
    first = offer(client, keys)
    assert list(first.states) == [WANTED] * 4 + [NOT_ADMITTED] * 6
    stats = daemon.stats()
    assert stats["grpc_set_bytes_promised"] == 64 * MIB
    assert stats["grpc_offer_keys_refused_total"] == 6

    # Nobody is sending them, so nobody hears PENDING.
    again = offer(client, keys[4:])
    assert list(again.states) == [NOT_ADMITTED] * 6
    assert again.ticket == 0

    values = {key: value_of(key, 16 * MIB) for key in keys[:4]}
    stored = client.set(values, ticket=first.ticket)
    assert {result.state for result in stored.results} == {pb().SET_STATE_STORED}
    assert daemon.stats()["grpc_set_bytes_promised"] == 0
    rest = offer(client, keys)
    assert list(rest.states) == [HELD] * 4 + [WANTED] * 4 + [NOT_ADMITTED] * 2


def test_what_is_held_needs_no_room(door):
    daemon, client = door
    held = names(6, "held")
    for key in held:
        client.set({key: value_of(key, 16 * MIB)})
    answer = offer(client, [*held, *names(4)])
    assert list(answer.states) == [HELD] * 6 + [WANTED] * 4
    assert refused_keys(daemon) == 0


def test_the_room_of_a_door_is_its_own(start):
    daemon = start(*FLAGS, "--tenants=a,b")
    clients = [daemon.client(f"unix:{daemon.run_dir}/grpc-{name}.sock") for name in "ab"]
    for client in clients:
        client.open()
        assert list(offer(client, names(4)).states) == [WANTED] * 4


def test_a_ticket_is_its_producers(door):
    _, client = door
    ticket = offer(client, [b"mine"], size=100, producer=11).ticket
    value = {b"mine": value_of(b"mine", 100)}
    for other in (0, 12):
        with pytest.raises(grpc.RpcError) as refused:
            client.set(value, ticket=ticket, producer=other)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        for word in ("producer", str(other), "11"):
            assert word in refused.value.details()
    assert client.get([b"mine"]).results[0].state == pb().GET_STATE_MISS
    stored = client.set(value, ticket=ticket, producer=11)
    assert stored.results[0].state == pb().SET_STATE_STORED


def test_a_set_under_an_ended_ticket_is_stored_and_counted(door):
    daemon, client = door
    stored = client.set({b"late": b"value"}, ticket=0x1234)
    assert stored.results[0].state == pb().SET_STATE_STORED
    assert client.get([b"late"]).values[0] == b"value"
    assert daemon.stats()["grpc_unknown_tickets_total"] == 1


def set_later(client, key, size):
    """A Set whose answer waits for the device."""
    request = pb().SetRequest(
        namespace=client.ns,
        entries=[pb().SetEntry(key=key, value_bytes=size)],
        values=[value_of(key, size)],
        durability=pb().DURABILITY_LOGGED,
    )
    return client.rpc.Set.future(request, timeout=harness.HANG_S)


def wait_for(daemon, name, value):
    limit = time.monotonic() + harness.HANG_S
    while daemon.stats()[name] < value:
        assert time.monotonic() < limit, daemon.stats()[name]


def test_a_set_without_a_ticket_above_the_budget_is_refused_by_name(start, device):
    daemon = start(*FLAGS, *hung_device.FLAGS, wrapper=device.wrapper)
    client = daemon.client()
    client.open()
    device.hang()
    running = [set_later(client, key, 18 * MIB) for key in names(3, "run")]
    wait_for(daemon, "grpc_set_bytes_handled", 54 * MIB)

    with pytest.raises(grpc.RpcError) as refused:
        client.set({b"more": value_of(b"more", 18 * MIB)})
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for word in ("values", "ticket", str(70 * MIB)):
        assert word in refused.value.details()
    assert daemon.stats()["grpc_sets_refused_total"] == 1
    # What is being handled takes room from Offers too; what they promise is then taken.
    assert list(offer(client, [b"more"], 18 * MIB).states) == [NOT_ADMITTED]
    promised = offer(client, [b"less"], 10 * MIB)
    assert list(promised.states) == [WANTED]
    for key, size, ticket in ((b"beside", 5, 0), (b"less", 10, promised.ticket)):
        value = {key: value_of(key, size * MIB)}
        answer = client.set(value, ticket=ticket, durability=pb().DURABILITY_VOLATILE)
        assert answer.results[0].state == pb().SET_STATE_STORED

    device.come_back()
    for call in running:
        assert call.result().results[0].state == pb().SET_STATE_STORED
    wait_for_zero(daemon, "grpc_set_bytes_handled")


def test_many_large_sets_at_once_leave_nothing_counted(door):
    """Whatever of them is stored or refused, and by gRPC's own quota or by name."""
    daemon, owner = door
    states, codes = [], []

    def send(number):
        client = daemon.client()
        client.open()
        for i in range(4):
            key = f"s{number}-{i}".encode()
            try:
                answer = client.set(
                    {key: value_of(key, 16 * MIB)}, durability=pb().DURABILITY_LOGGED
                )
                states.append(answer.results[0].state)
            except grpc.RpcError as error:
                codes.append(error.code())
        client.channel.close()

    run_all(send, 8)
    assert len(states) + len(codes) == 32
    assert set(states) <= {pb().SET_STATE_STORED, pb().SET_STATE_TIMED_OUT}
    assert set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    wait_for_zero(daemon, "grpc_set_bytes_handled")
    owner.set({b"after": b"the storm"})
    assert owner.get([b"after"]).values[0] == b"the storm"
