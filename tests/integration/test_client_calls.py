# SPDX-License-Identifier: Apache-2.0
"""The package kvgate against the daemon: every call, over both transports."""

import ctypes
import threading

import client_world as world
import kvgate
import pytest
from client_world import keys, load, store, values
from kvgate import Code, Durability, Feature, Match, OfferState, Reason, SetEntry, SetMode, Tier


@pytest.fixture(params=world.TRANSPORTS)
def client(request, daemon):
    with world.connect(daemon, request.param) as one:
        yield one


@pytest.fixture
def ns(client, request):
    # A namespace a test: nobody sees another's keys.
    opened = client.open(world.identity(model=request.node.name), timeout_ms=10_000)
    assert opened.available, opened.error
    return opened


def test_open_tells_limits_and_features(client, ns, request):
    assert ns.limits.keys_max == 1024
    assert ns.root_group_keys == (4096 // 16,)
    assert Feature.PIN in ns.features
    assert ns.identity_digest == world.identity(model=request.node.name).digest()


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 2 << 20, 20 << 20])
def test_values_come_back(client, ns, size):
    names, contents = keys(3), values(3, size)
    assert store(client, ns, names, contents) == [Reason.OK] * 3
    assert load(client, ns, names, size) == contents
    stats = client.stats()
    assert stats.loaded_bytes == stats.stored_bytes == 3 * size


def test_a_value_goes_to_its_pieces_and_nowhere_else(client, ns):
    (content,) = values(1, 300_000)
    assert store(client, ns, [b"k"], [content]) == [Reason.OK]
    memory = ctypes.create_string_buffer(b"#" * 400_000, 400_000)
    base = ctypes.addressof(memory)
    pieces = [(base + 10, 100_000), (base + 200_000, 150_000), (base + 120_000, 50_000)]
    (result,) = client.get_into(ns, [pieces], keys=[b"k"], timeout_ms=10_000)
    assert (result.reason, result.tier) == (Reason.OK, Tier.MEMORY)
    assert memory.raw[10:100_010] == content[:100_000]
    assert memory.raw[200_000:350_000] == content[100_000:250_000]
    assert memory.raw[120_000:170_000] == content[250_000:]
    assert memory.raw[:10] == b"#" * 10
    assert memory.raw[100_010:120_000] == b"#" * 19_990
    assert memory.raw[170_000:200_000] == b"#" * 30_000
    assert client.crc32c(kvgate.PieceTable.of([pieces])) == result.crc32c


def test_a_value_of_another_size_is_a_miss(client, ns):
    store(client, ns, [b"k"], values(1, 1000))
    memory = ctypes.create_string_buffer(b"#" * 999, 999)
    target = [[(ctypes.addressof(memory), 999)]]
    (result,) = client.get_into(ns, target, keys=[b"k"], timeout_ms=10_000)
    assert result.reason == Reason.WRONG_SIZE
    assert memory.raw == b"#" * 999


def test_lookup_counts_leading_keys(client, ns):
    store(client, ns, keys(5), values(5))
    found = client.lookup(ns, keys(8), timeout_ms=10_000)
    assert found.code == Code.OK
    assert (found.held, found.memory_keys, found.disk_keys) == (5, 5, 0)
    assert found.value_bytes == 5000
    assert found.pin_token == 0


def test_lookup_by_membership_answers_a_bitmap(client, ns):
    store(client, ns, [b"k0", b"k3"], values(2))
    found = client.lookup(ns, keys(10), match=Match.MEMBERSHIP, timeout_ms=10_000)
    assert found.code == Code.OK
    assert found.bitmap == bytes([0b1001, 0])


def test_each_membership_query_has_its_own_bitmap(client, request):
    groups = world.identity().groups * 3
    ns = client.open(world.identity(model=request.node.name, groups=groups), timeout_ms=10_000)
    store(client, ns, [b"k0", b"k3"], values(2))
    store(client, ns, [b"k0"], values(1), group=1)
    store(client, ns, [b"m1"], values(1), group=2)
    queries = [
        kvgate.GroupQuery(0, keys(10), match=Match.MEMBERSHIP, block_tokens=16),
        kvgate.GroupQuery(1, keys(10), match=Match.PREFIX, block_tokens=16),
        kvgate.GroupQuery(2, keys(3, "m"), match=Match.MEMBERSHIP, block_tokens=16),
    ]
    found = client.lookup_groups(ns, queries, timeout_ms=10_000)
    assert found.code == Code.OK, found.error
    assert [g.bitmap for g in found.groups] == [bytes([0b1001, 0]), b"", bytes([0b10])]
    assert found.bitmap == found.groups[0].bitmap


def test_a_failed_call_without_results_says_why(client):
    for call in (
        lambda: client.touch(12345, b"k", timeout_ms=10_000),
        lambda: client.pin(12345, 1, 1000, timeout_ms=10_000),
        lambda: client.unpin(12345, 1, timeout_ms=10_000),
    ):
        answer = call()
        assert answer.code == Code.INVALID_ARGUMENT
        assert "12345" in answer.error


def test_a_stale_token_is_an_answer(client, ns):
    granted = client.pin(ns, 99, 1000, timeout_ms=10_000)
    assert (granted, granted.code, granted.error) == (0, Code.OK, "")
    assert client.ping(timeout_ms=10_000).error == ""


def test_a_pin_token_loads_without_keys(client, ns):
    contents = values(6)
    store(client, ns, keys(6), contents)
    found = client.lookup(ns, keys(6), pin_ms=10_000, timeout_ms=10_000)
    assert found.pin_token != 0
    memory = ctypes.create_string_buffer(3000)
    base = ctypes.addressof(memory)
    targets = [[(base + 1000 * i, 1000)] for i in range(3)]
    results = client.get_into(ns, targets, pin_token=found.pin_token, first=2, timeout_ms=10_000)
    assert [r.reason for r in results] == [Reason.OK] * 3
    assert memory.raw == b"".join(contents[2:5])
    assert client.pin(ns, found.pin_token, 5000, timeout_ms=10_000) > 0
    assert client.unpin(ns, found.pin_token, timeout_ms=10_000) == Code.OK
    results = client.get_into(ns, targets, pin_token=found.pin_token, timeout_ms=10_000)
    assert [r.reason for r in results] == [Reason.STALE_TOKEN] * 3


def test_offer_says_what_is_wanted(client, ns):
    store(client, ns, [b"k0"], values(1))
    offer = client.offer(ns, keys(2), [1000, 1000], timeout_ms=10_000)
    assert offer.code == Code.OK, offer.error
    assert offer.states == (OfferState.HELD, OfferState.WANTED)
    assert offer.ticket != 0
    reasons = store(
        client, ns, [b"k1"], values(1), ticket=offer.ticket, parent=b"k0", depth=1, root=b"k0"
    )
    assert reasons == [Reason.OK]


def test_if_absent_keeps_and_overwrite_replaces(client, ns):
    old, new = values(2)
    assert store(client, ns, [b"k"], [old]) == [Reason.OK]
    assert store(client, ns, [b"k"], [new]) == [Reason.ALREADY_HELD]
    assert load(client, ns, [b"k"], 1000) == [old]
    assert store(client, ns, [b"k"], [new], mode=SetMode.OVERWRITE) == [Reason.OK]
    assert load(client, ns, [b"k"], 1000) == [new]


def test_deleted_keys_are_gone(client, ns):
    store(client, ns, keys(2), values(2))
    assert client.delete(ns, [b"k0", b"never"], timeout_ms=10_000) == [True, False]
    assert load(client, ns, [b"k0"], 1000) == [None]


def test_a_wrong_producer_crc_stores_nothing(client, ns):
    (content,) = values(1)
    (result,) = client.set(ns, [SetEntry(b"k", content, producer_crc=1)], timeout_ms=10_000)
    assert result.reason == Reason.DATA_LOSS
    assert load(client, ns, [b"k"], 1000) == [None]


def test_staging_memory_is_gathered_checked_and_stored(client, ns):
    parts = values(3, 50_000)
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    address = client.staging_alloc(150_000)
    assert address != 0
    pieces = [(ctypes.addressof(b), len(b)) for b in buffers]
    crc = client.gather(address, pieces)
    assert crc == client.crc32c([(address, 150_000)])
    entry = SetEntry(b"k", [(address, 150_000)], producer_crc=crc)
    (result,) = client.set(ns, [entry], durability=Durability.LOGGED, timeout_ms=60_000)
    assert result == (Reason.OK, Durability.LOGGED)
    assert client.stats().staging_in_use == 150_000
    client.staging_free(address)
    assert client.stats().staging_in_use == 0
    assert load(client, ns, [b"k"], 150_000) == [b"".join(parts)]


def test_staging_memory_is_bounded(client, ns):
    taken = []
    while address := client.staging_alloc(4 << 20):
        taken.append(address)
        assert len(taken) <= 8
    assert len(taken) > 0
    for address in taken:
        client.staging_free(address)


def test_touch_and_ping_are_answered(client, ns):
    store(client, ns, [b"k"], values(1))
    hints = kvgate.Hints(prompt_tokens=16, output_tokens=5, turn=1, finished=True)
    assert client.touch(ns, b"k", hints=hints, timeout_ms=10_000) == Code.OK
    assert client.ping(timeout_ms=10_000) == Code.OK


def test_more_than_a_message_holds_is_asked_for_again(client, ns):
    # 96 MiB: two messages over gRPC, which carry 64 MiB each.
    names, contents = keys(6), values(6, 16 << 20)
    assert store(client, ns, names, contents) == [Reason.OK] * 6
    assert load(client, ns, names, 16 << 20) == contents


def test_threads_share_a_client(client, ns):
    wrong = []

    def work(name):
        contents = values(20, 20_000)
        names = keys(20, name)
        if store(client, ns, names, contents) != [Reason.OK] * 20:
            wrong.append(f"{name}: not stored")
        for _ in range(10):
            if load(client, ns, names, 20_000) != contents:
                wrong.append(f"{name}: other bytes")

    threads = [threading.Thread(target=work, args=(f"t{i}-",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(world.HANG_S)
    assert wrong == []


# ---- bad input ----


def test_a_key_over_the_limit_is_refused(client, ns):
    assert store(client, ns, [b"x" * 1025], values(1)) == [Reason.REFUSED]
    found = client.lookup(ns, [b"x" * 1025], timeout_ms=10_000)
    assert found.code == Code.INVALID_ARGUMENT
    assert "1025" in found.error and "1024" in found.error


def test_a_refusal_names_field_value_and_limit(client, ns):
    key = b"x" * 1025
    memory = ctypes.create_string_buffer(1)
    for results in (
        client.get_into(ns, [[(ctypes.addressof(memory), 1)]], keys=[key], timeout_ms=10_000),
        client.get(ns, [key], 1, timeout_ms=10_000),
        client.set(ns, [SetEntry(key, b"v")], timeout_ms=10_000),
        client.delete(ns, [key], timeout_ms=10_000),
    ):
        assert len(results) == 1
        assert results.code == Code.INVALID_ARGUMENT
        for word in ("key", "1025", "1024"):
            assert word in results.error


def test_a_call_that_went_well_has_no_error(client, ns):
    stored = client.set(ns, [SetEntry(b"k", b"v")], timeout_ms=10_000)
    loaded = client.get(ns, [b"k", b"never"], 1, timeout_ms=10_000)
    deleted = client.delete(ns, [b"k"], timeout_ms=10_000)
    assert (stored.code, loaded.code, deleted.code) == (Code.OK,) * 3
    assert (loaded, deleted) == ([b"v", None], [True])
    assert stored.error == loaded.error == deleted.error == ""


def test_more_keys_than_the_limit_are_refused(client, ns):
    names = keys(1025)
    memory = ctypes.create_string_buffer(1025)
    targets = [[(ctypes.addressof(memory) + i, 1)] for i in range(1025)]
    results = client.get_into(ns, targets, keys=names, timeout_ms=10_000)
    assert {r.reason for r in results} == {Reason.REFUSED}


def test_a_value_over_64_mib_is_refused_and_not_stored(client, ns):
    content = bytes((64 << 20) + 1)
    assert store(client, ns, [b"k"], [content]) in ([Reason.REFUSED], [Reason.TOO_LARGE])
    assert client.lookup(ns, [b"k"], timeout_ms=10_000).held == 0
    assert store(client, ns, [b"small"], [b"v"]) == [Reason.OK]


def test_another_identity_under_an_alias_is_refused_by_the_name_of_its_field(client, request):
    alias = request.node.name[:100]
    first = client.open(world.identity(model=alias), alias=alias, timeout_ms=10_000)
    assert first.available, first.error
    other = client.open(world.identity(model=alias, isa="avx512"), alias=alias, timeout_ms=10_000)
    assert (other.available, other.ns) == (False, 0)
    assert "isa" in other.error


def test_an_unknown_required_feature_is_refused_by_name(client):
    opened = client.open(world.identity(), required_features=[63], timeout_ms=10_000)
    assert not opened.available
    assert opened.code in (Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT)
    assert "63" in opened.error


def test_no_identity_at_all_is_refused(client):
    assert client.open(b"junk", timeout_ms=10_000).code == Code.INVALID_ARGUMENT
    assert client.open(b"", timeout_ms=10_000).code == Code.INVALID_ARGUMENT


def test_mistakes_of_the_caller_are_exceptions(client, ns):
    with pytest.raises(ValueError):
        client.get_into(ns, [[(1, 1)]], timeout_ms=10)
    with pytest.raises(ValueError):
        client.get_into(ns, [[(1, 1)]], keys=keys(2), timeout_ms=10)
    with pytest.raises(ValueError):
        kvgate.Client("tcp", local_socket="/s")
    with pytest.raises(ValueError):
        kvgate.Client(verify="perhaps", local_socket="/s")


def test_auto_takes_the_local_door(daemon):
    with world.connect(daemon, "auto") as client:
        assert world.alive(client)
        assert client.stats().transport == "local"


def test_auto_takes_grpc_without_a_local_door(daemon, tmp_path):
    with world.connect(daemon, "auto", local_socket=str(tmp_path / "none")) as client:
        assert world.alive(client)
        assert client.stats().transport == "grpc"
