# SPDX-License-Identifier: Apache-2.0
"""What each RPC does, through generated protobuf code."""

import grpc
import harness
import pytest
from harness import crc32c, pb, value_of


def chain(name, count):
    return [f"{name}-{i}".encode() for i in range(count)]


def store(client, keys, size=5000, **fields):
    return client.set({key: value_of(key, size) for key in keys}, **fields)


def states(answer):
    return [result.state for result in answer.results]


def test_open_answers_limits_features_and_root_groups(client):
    answer = client.open()
    assert answer.namespace and answer.incarnation
    assert answer.limits.key_bytes_max == 1024
    assert answer.limits.value_bytes_max == 64 << 20
    assert answer.limits.keys_max == 1024
    assert answer.limits.lookup_keys_max == 65536
    assert list(answer.root_group_keys) == [128]
    assert len(answer.identity_digest) == 32
    assert pb().FEATURE_PIN in answer.features
    assert answer.local_socket.endswith("local.sock")


def test_open_twice_gives_the_same_handle(client):
    assert client.open().namespace == client.open().namespace


def test_get_returns_what_set_stored(client):
    keys = chain("roundtrip", 5)
    assert states(store(client, keys)) == [pb().SET_STATE_STORED] * 5
    answer = client.get(keys)
    assert states(answer) == [pb().GET_STATE_OK] * 5
    assert list(answer.values) == [value_of(key, 5000) for key in keys]
    assert [result.crc32c for result in answer.results] == [crc32c(v) for v in answer.values]
    assert {result.tier for result in answer.results} == {pb().TIER_MEMORY}


@pytest.mark.parametrize("size", [1, 4095, 4096, 65535, 65536, 65537, (2 << 20) + 1])
def test_values_of_odd_sizes_come_back_whole(client, size):
    key = f"size-{size}".encode()
    store(client, [key], size)
    answer = client.get([key])
    assert answer.values[0] == value_of(key, size)
    assert answer.results[0].value_bytes == size


def test_a_value_of_64_mib_comes_back_whole(client):
    value = value_of(b"largest", 64 << 20)
    client.set({b"largest": value})
    assert client.get([b"largest"]).values[0] == value
    client.delete([b"largest"])


def test_a_miss_is_a_result(client):
    store(client, [b"there"])
    answer = client.get([b"not-there", b"there"])
    assert states(answer) == [pb().GET_STATE_MISS, pb().GET_STATE_OK]
    assert len(answer.values) == 1


def test_prefix_only_ends_at_the_first_miss(client):
    store(client, [b"p0", b"p2"])
    answer = client.get([b"p0", b"p1", b"p2"], prefix_only=True)
    want = [pb().GET_STATE_OK, pb().GET_STATE_MISS, pb().GET_STATE_NOT_SENT]
    assert states(answer) == want
    assert len(answer.values) == 1


def test_a_range_has_the_checksum_of_exactly_its_bytes(client):
    store(client, [b"ranged"])
    answer = client.get([b"ranged"], range_offset=1000, range_bytes=77)
    want = value_of(b"ranged", 5000)[1000:1077]
    assert list(answer.values) == [want]
    assert answer.results[0].crc32c == crc32c(want)
    assert answer.results[0].value_bytes == 77


def test_no_payload_answers_results_only(client):
    store(client, [b"quiet"])
    answer = client.get([b"quiet"], no_payload=True)
    assert states(answer) == [pb().GET_STATE_OK]
    assert not answer.values
    assert answer.results[0].crc32c == crc32c(value_of(b"quiet", 5000))


def test_what_does_not_fit_the_message_is_not_sent(client):
    keys = chain("fit", 3)
    for key in keys:
        client.set({key: value_of(key, 30 << 20)})
    answer = client.get(keys)
    want = [pb().GET_STATE_OK, pb().GET_STATE_OK, pb().GET_STATE_NOT_SENT]
    assert states(answer) == want
    assert [len(value) for value in answer.values] == [30 << 20] * 2
    client.delete(keys)


def test_if_absent_keeps_and_overwrite_replaces(client):
    client.set({b"mode": b"first"})
    assert states(client.set({b"mode": b"second"})) == [pb().SET_STATE_HELD]
    assert client.get([b"mode"]).values[0] == b"first"
    answer = client.set({b"mode": b"third"}, mode=pb().SET_MODE_OVERWRITE)
    assert states(answer) == [pb().SET_STATE_STORED]
    assert client.get([b"mode"]).values[0] == b"third"


def test_a_wrong_producer_checksum_stores_nothing(client):
    entries = [
        pb().SetEntry(key=b"crc-good", value_bytes=3, producer_crc32c=crc32c(b"abc")),
        pb().SetEntry(key=b"crc-bad", value_bytes=3, producer_crc32c=1),
        pb().SetEntry(key=b"crc-after", value_bytes=3),
    ]
    request = pb().SetRequest(namespace=client.ns, entries=entries, values=[b"abc"] * 3)
    answer = client.rpc.Set(request, timeout=harness.HANG_S)
    assert states(answer) == [
        pb().SET_STATE_STORED,
        pb().SET_STATE_DATA_LOSS,
        pb().SET_STATE_NOT_ADMITTED,
    ]
    got = client.get([b"crc-good", b"crc-bad", b"crc-after"])
    assert states(got) == [pb().GET_STATE_OK, pb().GET_STATE_MISS, pb().GET_STATE_MISS]


def test_lookup_counts_the_leading_keys(client):
    keys = chain("prefix", 6)
    store(client, keys[:4])
    held = client.lookup(keys).groups[0]
    assert held.held == 4
    assert sum(run.count for run in held.runs) == 4
    assert client.lookup(keys).boundary_tokens == 4 * 32


def test_membership_answers_a_bitmap(client):
    keys = chain("member", 10)
    store(client, [keys[0], keys[3], keys[9]])
    answer = client.lookup(keys, match=pb().MATCH_MEMBERSHIP)
    assert answer.groups[0].bitmap == bytes([0b1001, 0b10])


def test_advice_weighs_loading_against_recomputing(client):
    keys = chain("advice", 2)
    store(client, keys)
    assert client.lookup(keys).advice == pb().ADVICE_UNSPECIFIED
    assert client.lookup(keys, recompute_ms_per_token=1000.0).advice == pb().ADVICE_LOAD


def test_get_by_handle_needs_no_keys(client):
    keys = chain("handle", 3)
    store(client, keys)
    token = client.lookup(keys, pin_ms=10_000).pin_token
    assert token
    request = pb().GetRequest(
        namespace=client.ns, handle=pb().Handle(pin_token=token, first=1, count=2)
    )
    answer = client.rpc.Get(request, timeout=harness.HANG_S)
    assert list(answer.values) == [value_of(key, 5000) for key in keys[1:]]
    unpin = pb().UnpinRequest(namespace=client.ns, pin_token=token)
    assert client.rpc.Unpin(unpin, timeout=harness.HANG_S).found
    assert not client.rpc.Unpin(unpin, timeout=harness.HANG_S).found
    answer = client.rpc.Get(request, timeout=harness.HANG_S)
    assert states(answer) == [pb().GET_STATE_STALE_TOKEN] * 2


def test_pin_renews_a_token_and_answers_zero_for_a_stale_one(client):
    store(client, [b"renew"])
    token = client.lookup([b"renew"], pin_ms=5_000).pin_token
    renew = pb().PinRequest(namespace=client.ns, pin_token=token, pin_ms=9_000)
    assert client.rpc.Pin(renew, timeout=harness.HANG_S).pin_ms == 9_000
    stale = pb().PinRequest(namespace=client.ns, pin_token=token + 1, pin_ms=9_000)
    assert client.rpc.Pin(stale, timeout=harness.HANG_S).pin_ms == 0


def test_a_staged_lookup_counts_what_is_in_memory(client):
    keys = chain("stage", 3)
    store(client, keys)
    answer = client.lookup(keys, stage=True, answer_by_ms=1000, pin_ms=1000)
    assert answer.groups[0].held == 3
    assert {run.tier for run in answer.groups[0].runs} == {pb().TIER_MEMORY}


def test_offer_wants_what_is_absent(client):
    store(client, [b"offer-held"])
    request = pb().OfferRequest(
        namespace=client.ns, keys=[b"offer-held", b"offer-new"], value_bytes=[5000, 5000]
    )
    answer = client.rpc.Offer(request, timeout=harness.HANG_S)
    assert list(answer.states) == [pb().OFFER_STATE_HELD, pb().OFFER_STATE_WANTED]
    assert answer.ticket
    stored = store(client, [b"offer-new"], ticket=answer.ticket)
    assert states(stored) == [pb().SET_STATE_STORED]


def test_touch_finds_the_last_key(client):
    store(client, [b"touched"])
    request = pb().TouchRequest(namespace=client.ns, last_key=b"touched")
    assert client.rpc.Touch(request, timeout=harness.HANG_S).found
    request.last_key = b"untouched"
    assert not client.rpc.Touch(request, timeout=harness.HANG_S).found


def test_delete_removes_and_says_what_was_there(client):
    store(client, [b"gone"])
    assert list(client.delete([b"gone", b"never"]).found) == [True, False]
    assert states(client.get([b"gone"])) == [pb().GET_STATE_MISS]


def test_logged_and_device_durability_are_granted(client):
    for durability in (pb().DURABILITY_LOGGED, pb().DURABILITY_DEVICE):
        key = f"durable-{durability}".encode()
        answer = store(client, [key], durability=durability)
        assert answer.results[0].state == pb().SET_STATE_STORED
        assert answer.results[0].durability >= durability


def test_fields_in_any_order_are_understood(client):
    """Legal protobuf: values before entries, an unknown field in between."""
    entry = pb().SetEntry(key=b"order", value_bytes=5)
    message = pb().SetRequest(values=[b"bytes"]).SerializeToString()
    message += b"\xfa\x3e\x03abc"  # field 1007, length-delimited
    message += pb().SetRequest(entries=[entry], namespace=client.ns).SerializeToString()
    call = client.channel.unary_unary(
        "/kvgate.v1.KvCache/Set",
        request_serializer=bytes,
        response_deserializer=pb().SetResponse.FromString,
    )
    assert states(call(message, timeout=harness.HANG_S)) == [pb().SET_STATE_STORED]
    assert client.get([b"order"]).values[0] == b"bytes"


def test_shards_are_parts_of_one_block(daemon):
    client = daemon.client()
    client.open(shards=2)
    store(client, [b"sharded"], shard=0)
    assert client.lookup([b"sharded"]).groups[0].held == 0
    store(client, [b"sharded"], shard=1)
    assert client.lookup([b"sharded"], shards=2).groups[0].held == 1
    assert states(client.get([b"sharded"], shard=1)) == [pb().GET_STATE_OK]


def test_a_pin_of_no_time_is_refused(client):
    client.set({b"pin-0": b"x"})
    token = client.lookup([b"pin-0"], pin_ms=1000).pin_token
    with pytest.raises(grpc.RpcError) as caught:
        client.rpc.Pin(
            pb().PinRequest(namespace=client.ns, pin_token=token, pin_ms=0), timeout=harness.HANG_S
        )
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "pin_ms: 0" in caught.value.details()


def test_a_range_beyond_a_value_is_a_miss_of_that_value_alone(client):
    client.set({b"short": b"0123", b"long": b"0123456789"})
    answer = client.get([b"short", b"long"], range_offset=2, range_bytes=4)
    states = [result.state for result in answer.results]
    assert states == [pb().GET_STATE_MISS, pb().GET_STATE_OK]
    assert list(answer.values) == [b"2345"]


def test_hints_are_counted(daemon, client):
    before = daemon.stats("hints_")
    client.set({b"hinted": b"x"}, hints=pb().Hints(prompt_tokens=7, turn=2))
    hints = pb().Hints(output_tokens=5, finished=True)
    request = pb().TouchRequest(namespace=client.ns, last_key=b"hinted", hints=hints)
    client.rpc.Touch(request, timeout=harness.HANG_S)
    more = {name: value - before[name] for name, value in daemon.stats("hints_").items()}
    assert more == {
        "hints_prompt_tokens_total": 7,
        "hints_turns_total": 2,
        "hints_output_tokens_total": 5,
        "hints_finished_total": 1,
    }


def test_open_logs_who_the_client_says_it_is(start):
    daemon = start()  # its own: the log is limited by the second, and others open too
    client = daemon.client()
    request = pb().OpenRequest(identity=harness.make_identity(), client_name="engine\n7")
    client.rpc.Open(request, timeout=harness.HANG_S)
    assert r"open by engine\n7 of default: namespace " in daemon.text()
