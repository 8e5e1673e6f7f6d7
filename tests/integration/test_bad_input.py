# SPDX-License-Identifier: Apache-2.0
"""Bad input: canonical code, field, value and limit in the text, nothing stored, nobody harmed."""

import contextlib
import re

import grpc
import harness
import pytest
import raw_http2
from harness import pb, value_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
FAILED = grpc.StatusCode.FAILED_PRECONDITION


@contextlib.contextmanager
def refused(code, *words):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert str(word) in caught.value.details()
    # What gRPC says itself, before us or on the client's side, has none.
    if caught.value.details() != "Deadline Exceeded" and "larger than max" not in str(caught.value):
        assert re.search(r" \[KVG[234]\d\d\]$", caught.value.details()), caught.value.details()


@pytest.fixture(autouse=True)
def others_are_unharmed(daemon):
    """A second client, connected before and used after."""
    other = daemon.client()
    other.open(model="other")
    other.set({b"mine": b"value"})
    yield
    assert other.get([b"mine"]).values[0] == b"value"
    assert daemon.alive
    other.channel.close()


def nothing_stored(client, *keys):
    answer = client.get(list(keys))
    assert {result.state for result in answer.results} == {pb().GET_STATE_MISS}


def test_key_over_1024_bytes(client):
    with refused(INVALID, "entries[1].key", 1025, 1024):
        client.set({b"good-key": b"x", b"k" * 1025: b"x"})
    nothing_stored(client, b"good-key")
    with refused(INVALID, "keys[0]", 1025, 1024):
        client.get([b"k" * 1025])
    with refused(INVALID, "queries[0].keys[0]", 1025, 1024):
        client.lookup([b"k" * 1025])
    with refused(INVALID, "keys[0]", 1025, 1024):
        client.delete([b"k" * 1025])


def test_empty_key(client):
    with refused(INVALID, "entries[0].key", "0 bytes", 1024):
        client.set({b"": b"x"})


def test_empty_batch(client):
    with refused(INVALID, "entries", "empty", 1024):
        client.set({})
    with refused(INVALID, "keys", "empty", 1024):
        client.get([])
    with refused(INVALID, "queries[0].keys", "empty", 65536):
        client.lookup([])
    with refused(INVALID, "keys", "empty", 1024):
        client.delete([])


def test_empty_value(client):
    with refused(INVALID, "value_bytes[1]", "0", 64 << 20):
        client.set({b"full": b"x", b"empty": b""})
    nothing_stored(client, b"full", b"empty")


def test_value_over_64_mib(client):
    size = (64 << 20) + 1
    with refused(INVALID, "value_bytes[0]", size, 64 << 20):
        client.set({b"too-large": bytes(size)})
    nothing_stored(client, b"too-large")


def test_batch_payload_over_64_mib(client):
    half = bytes(33 << 20)
    with refused(INVALID, "values", 66 << 20, 64 << 20):
        client.set({b"half-1": half, b"half-2": half})
    nothing_stored(client, b"half-1", b"half-2")


def test_message_over_69_mib(client):
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, 69 << 20):
        client.set({b"too-large": bytes(70 << 20)})
    nothing_stored(client, b"too-large")


def test_batch_over_1024_keys(client):
    keys = [f"many-{i}".encode() for i in range(1025)]
    with refused(INVALID, "entries", 1025, 1024):
        client.set({key: b"x" for key in keys})
    nothing_stored(client, *keys[:1024])
    with refused(INVALID, "keys", 1025, 1024):
        client.get(keys)
    with refused(INVALID, "keys", 1025, 1024):
        client.delete(keys)


def test_lookup_over_65536_keys(client):
    with refused(INVALID, "keys", 65537, 65536):
        client.lookup([b"%d" % i for i in range(65537)])


def test_more_values_than_entries(client):
    entries = [pb().SetEntry(key=b"lonely", value_bytes=1)]
    request = pb().SetRequest(namespace=client.ns, entries=entries, values=[b"x", b"y"])
    with refused(INVALID, "values", "2", "1"):
        client.rpc.Set(request, timeout=harness.HANG_S)
    nothing_stored(client, b"lonely")


def test_stated_length_that_is_not_the_value_s(client):
    entries = [pb().SetEntry(key=b"lied", value_bytes=7)]
    request = pb().SetRequest(namespace=client.ns, entries=entries, values=[b"x"])
    with refused(INVALID, "entries[0].value_bytes", "7", "1"):
        client.rpc.Set(request, timeout=harness.HANG_S)
    nothing_stored(client, b"lied")


def test_unknown_namespace(client):
    for call in (
        lambda: client.set({b"k": b"v"}, ns=12345),
        lambda: client.get([b"k"], ns=12345),
        lambda: client.lookup([b"k"], ns=12345),
    ):
        with refused(FAILED, "namespace", hex(12345), "open again"):
            call()


# Each of these changes the bytes' meaning: another namespace, and under one alias an error.
_DIFFERENCES = {
    "weights": ("weights_digest", {"weights_digest": b"\x02" * 32}),
    "rope": ("rope", {"rope": '{"factor":2}'}),
    "isa": ("isa", {"isa": "avx2"}),
    "hash_algorithm": ("prefix_hash_algorithm", {"prefix_hash_algorithm": "sha256_cbor"}),
}


@pytest.mark.parametrize("name", _DIFFERENCES)
def test_identities_that_differ_do_not_mix(daemon, client, name):
    _, change = _DIFFERENCES[name]
    key = f"identity-{name}".encode()
    client.set({key: value_of(key, 1000)})
    stranger = daemon.client()
    stranger.open(**change)
    assert stranger.ns != client.ns
    nothing_stored(stranger, key)
    assert stranger.lookup([key]).groups[0].held == 0


@pytest.mark.parametrize("name", _DIFFERENCES)
def test_an_alias_names_the_field_that_differs(daemon, name):
    field, change = _DIFFERENCES[name]
    client = daemon.client()
    client.open(alias=f"deployment-{name}")
    with refused(FAILED, field, f"deployment-{name}"):
        client.open(alias=f"deployment-{name}", **change)


def test_identity_without_groups(client):
    with refused(INVALID, "identity", "groups"):
        client.open(groups=[])


def test_weak_prefix_hash(client):
    with refused(FAILED, "prefix_hash_algorithm", "xxhash"):
        client.open(prefix_hash_algorithm="xxhash_cbor")


def test_unknown_required_feature(client):
    with refused(FAILED, "FEATURE_40"):
        client.open(required=[40])


def test_expired_deadline(daemon, client):
    """A call whose time is over when it arrives: no client library sends one, so by hand."""
    request = pb().SetRequest(
        namespace=client.ns,
        entries=[pb().SetEntry(key=b"late", value_bytes=1)],
        values=[b"x"],
    )
    answer = raw_http2.call(
        daemon.run_dir / "grpc.sock",
        "/kvgate.v1.KvCache/Set",
        request.SerializeToString(),
        {"grpc-timeout": "0n"},
    )
    assert raw_http2.grpc_status(answer) == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    nothing_stored(client, b"late")


def test_deadline_that_passes_while_the_daemon_hangs(daemon, client):
    daemon.freeze()
    try:
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            client.set({b"hung": value_of(b"hung", 100_000)}, timeout=0.2)
    finally:
        daemon.thaw()
    answer = client.get([b"hung"])
    assert list(answer.values) in ([], [value_of(b"hung", 100_000)])


def test_answer_by_after_the_deadline(client):
    with refused(INVALID, "answer_by_ms", 5000, "before the deadline"):
        client.get([b"k"], timeout=2.0, answer_by_ms=5000)


def test_group_and_shard_beyond_the_identity(client):
    with refused(INVALID, "group", "1"):
        client.get([b"k"], group=1)
    with refused(INVALID, "shard", "1"):
        client.set({b"k": b"v"}, shard=1)
    with refused(INVALID, "shards", "3", "1"):
        client.lookup([b"k"], shards=3)


def test_root_is_present_exactly_inside_a_root_group(client):
    with refused(INVALID, "root", "depth 3"):
        client.get([b"k"], depth=3)
    with refused(INVALID, "root", "depth 128"):
        client.get([b"k"], depth=128, root=b"r")
    with refused(INVALID, "parent", "depth 3"):
        client.set({b"k": b"v"}, depth=3, root=b"r")
    with refused(INVALID, "parent", "depth 0"):
        client.set({b"k": b"v"}, parent=b"p")


def test_pin_longer_than_30_seconds(client):
    with refused(INVALID, "pin_ms", 30001, 30000):
        client.lookup([b"k"], pin_ms=30001)


def test_unknown_numbers_of_enums(client):
    with refused(INVALID, "mode", "9"):
        client.set({b"k": b"v"}, mode=9)
    with refused(INVALID, "durability", "9"):
        client.set({b"k": b"v"}, durability=9)
    with refused(INVALID, "match", "9"):
        client.lookup([b"k"], match=9)
    with refused(INVALID, "durability", "1"):
        client.delete([b"k"], durability=pb().DURABILITY_VOLATILE)
    nothing_stored(client, b"k")


def test_handle_beside_keys_root_or_depth(client):
    handle = pb().Handle(pin_token=7, count=1)
    with refused(INVALID, "handle", "1 keys"):
        client.get([b"k"], handle=handle)
    with refused(INVALID, "root"):
        client.get([], handle=handle, root=b"r")
    with refused(INVALID, "depth"):
        client.get([], handle=handle, depth=5)


def test_range_without_length(client):
    client.set({b"short": b"12345"})
    with refused(INVALID, "range_bytes", "0"):
        client.get([b"short"], range_offset=1)


def test_bytes_that_are_no_message(client):
    call = client.channel.unary_unary(
        "/kvgate.v1.KvCache/Set", request_serializer=bytes, response_deserializer=bytes
    )
    for garbage in (b"\xff" * 100, b"\x12\x7f", b"\x0b", b"\x00\x00", b"\x72\xff\xff\xff\xff\x7f"):
        with refused(INVALID, "byte"):
            call(garbage, timeout=harness.HANG_S)
    with refused(INVALID, "mode", "wire type"):
        call(b"\x1d\x00\x00\x00\x00", timeout=harness.HANG_S)
