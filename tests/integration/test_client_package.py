# SPDX-License-Identifier: Apache-2.0
"""The package kvgate without a daemon: canonical identities, tables of memory, checksums."""

import ctypes
import json
from array import array
from pathlib import Path

import kvgate
import pytest
from kvgate.pieces import KeyTable
from kvgate.types import Reason

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "proto/wire/vectors.json").read_text())
BINARY = {"weights_digest"}


def _field(name, value):
    if name == "groups":
        return [kvgate.KvGroup(**group) for group in value]
    if name == "lora_digests":
        return [bytes.fromhex(digest) for digest in value]
    return bytes.fromhex(value) if name in BINARY else value


@pytest.mark.parametrize("vector", VECTORS["identities"], ids=lambda v: v["fields"]["model"])
def test_an_identity_has_the_canonical_bytes_of_the_contract(vector):
    identity = kvgate.Identity(**{k: _field(k, v) for k, v in vector["fields"].items()})
    assert identity.encode().hex() == vector["canonical_hex"]
    assert identity.digest().hex() == vector["digest_hex"]


def test_one_shard_and_no_shards_are_the_same_identity():
    assert kvgate.Identity(shards=1).encode() == kvgate.Identity().encode()
    assert kvgate.Identity(shards=2).encode() != kvgate.Identity().encode()


def test_numbers_that_have_no_encoding_are_mistakes():
    with pytest.raises(ValueError):
        kvgate.Identity(tp_size=-1).encode()
    with pytest.raises(TypeError):
        kvgate.Identity(model=1.5).encode()


def test_keys_lie_one_after_the_other():
    table = KeyTable([b"a", b"", b"bcd"])
    rows = (ctypes.c_uint64 * 6).from_address(table.address)
    assert [ctypes.string_at(rows[i], rows[i + 1]) for i in (0, 2, 4)] == [b"a", b"", b"bcd"]


def test_a_piece_table_is_the_memory_that_was_given():
    numbers = array("Q", [1, 2, 3, 4])
    table = kvgate.PieceTable(numbers, array("I", [1, 1]))
    assert table.pieces_address == numbers.buffer_info()[0]
    assert (table.rows, table.values) == (2, 2)


@pytest.mark.parametrize(
    ("pieces", "counts"),
    [
        (array("Q", [1, 2, 3]), array("I", [1])),
        (array("I", [1, 2, 3, 4]), array("I", [1])),
        (array("Q", [1, 2]), array("I", [2])),
        (array("Q", [1, 2]), array("Q", [1])),
    ],
)
def test_a_malformed_piece_table_is_a_mistake(pieces, counts):
    with pytest.raises(ValueError):
        kvgate.PieceTable(pieces, counts)


@pytest.mark.parametrize("vector", VECTORS["crc32c"], ids=lambda v: str(len(v["data_hex"])))
def test_checksums_are_crc32c(vector):
    data = bytes.fromhex(vector["data_hex"])
    with kvgate.Client(local_socket="/none") as client:
        buffer = ctypes.create_string_buffer(data, len(data)) if data else ctypes.c_char()
        crc = client.crc32c([(ctypes.addressof(buffer), len(data))])
    assert crc == int(vector["crc32c"], 16)


def test_reasons_have_the_names_of_the_library():
    with kvgate.Client(local_socket="/none") as client:
        for reason in Reason:
            assert client._lib.kvgate_reason_name(reason).decode() == reason.name.lower()
        assert client._lib.kvgate_reason_name(999) == b"unknown"


def test_a_library_that_is_not_there_is_a_fault_of_the_installation(tmp_path):
    with pytest.raises(kvgate.LibraryError):
        kvgate.Client(local_socket="/none", library=str(tmp_path / "none.so"))


def test_a_closed_client_is_a_mistake():
    client = kvgate.Client(local_socket="/none")
    client.close()
    with pytest.raises(ValueError):
        client.ping()
