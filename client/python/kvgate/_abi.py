# SPDX-License-Identifier: Apache-2.0
"""libkvgate.so by ctypes: structs and functions of client/c/kvgate.h, and nothing else.

ctypes.CDLL releases the GIL during each call. The library is searched where the caller says, then
beside this package (where the wheel puts it), then at $KVGATE_LIB.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_size_t, c_uint32, c_uint64
from pathlib import Path

from kvgate.errors import tagged

ABI_VERSION = 2
ERROR_BYTES = 512

_P = ctypes.c_void_p


class LibraryError(OSError):
    """libkvgate.so is missing or of another ABI: a fault of the installation."""


class Struct(ctypes.Structure):
    """A struct whose first member is its own size, where it has that member."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        if self._fields_[0][0] == "struct_bytes":
            self.struct_bytes = ctypes.sizeof(self)


class Bytes(Struct):
    _fields_ = [("data", _P), ("bytes", c_size_t)]


class Options(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("transport", c_char_p),
        ("local_socket", c_char_p),
        ("grpc_target", c_char_p),
        ("grpc_library", c_char_p),
        ("client_name", c_char_p),
        ("producer", c_uint64),
        ("staging_bytes", c_uint64),
        ("verify", c_uint32),
        ("connect_timeout_ms", c_uint32),
        ("breaker_open_ms", c_uint32),
        ("token", c_char_p),
        ("token_file", c_char_p),
    ]


class OpenResult(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("incarnation", c_uint64),
        ("features", c_uint64),
        ("key_bytes_max", c_uint32),
        ("keys_max", c_uint32),
        ("lookup_keys_max", c_uint32),
        ("pin_ms_max", c_uint32),
        ("value_bytes_max", c_uint64),
        ("key_list_bytes_max", c_uint64),
        ("payload_bytes_max", c_uint64),
        ("disk_value_bytes_max", c_uint64),
        ("root_group_keys", c_uint32 * 64),
        ("groups", c_uint32),
        ("default_durability", c_uint32),
        ("identity_digest", ctypes.c_uint8 * 32),
        ("disk_mode", ctypes.c_char * 16),
        ("server_version", ctypes.c_char * 32),
    ]


class Query(Struct):
    _fields_ = [
        ("group", c_uint32),
        ("match", c_uint32),
        ("window_blocks", c_uint32),
        ("block_tokens", c_uint32),
        ("keys", _P),
        ("keys_count", c_size_t),
    ]


class LookupRequest(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("ns", c_uint64),
        ("queries", _P),
        ("queries_count", c_size_t),
        ("first_wanted_tokens", c_uint32),
        ("shards", c_uint32),
        ("pin_ms", c_uint32),
        ("stage", c_uint32),
        ("answer_by_ms", c_uint32),
        ("recompute_ms_per_token", c_double),
    ]


class GroupHeld(Struct):
    _fields_ = [
        ("group", c_uint32),
        ("first", c_uint32),
        ("held", c_uint32),
        ("memory_keys", c_uint32),
        ("disk_keys", c_uint32),
        ("value_bytes", c_uint64),
        ("bitmap", _P),
        ("bitmap_bytes", c_size_t),
    ]


class LookupResult(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("boundary_tokens", c_uint32),
        ("pin_ms", c_uint32),
        ("pin_token", c_uint64),
        ("predicted_load_ms", c_double),
        ("advice", c_uint32),
        ("groups", c_uint32),
        ("held", _P),
        ("held_count", c_size_t),
    ]


class GetRequest(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("ns", c_uint64),
        ("keys", _P),
        ("keys_count", c_size_t),
        ("pin_token", c_uint64),
        ("first", c_uint32),
        ("group", c_uint32),
        ("shard", c_uint32),
        ("depth", c_uint32),
        ("prefix_only", c_uint32),
        ("root", Bytes),
        ("range_offset", c_uint64),
        ("range_bytes", c_uint64),
        ("pieces", _P),
        ("piece_counts", _P),
    ]


class GetResult(Struct):
    _fields_ = [
        ("reason", c_uint32),
        ("tier", c_uint32),
        ("value_bytes", c_uint64),
        ("crc32c", c_uint32),
        ("reserved", c_uint32),
    ]


class SetEntry(Struct):
    _fields_ = [
        ("key", Bytes),
        ("piece_count", c_uint32),
        ("has_producer_crc", c_uint32),
        ("producer_crc", c_uint32),
        ("ttl_ms", c_uint32),
    ]


class SetRequest(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("ns", c_uint64),
        ("entries", _P),
        ("entries_count", c_size_t),
        ("pieces", _P),
        ("mode", c_uint32),
        ("depth", c_uint32),
        ("group", c_uint32),
        ("shard", c_uint32),
        ("durability", c_uint32),
        ("parent", Bytes),
        ("root", Bytes),
        ("ticket", c_uint64),
        ("prompt_tokens", c_uint32),
        ("output_tokens", c_uint32),
        ("turn", c_uint32),
        ("finished", c_uint32),
    ]


class SetResult(Struct):
    _fields_ = [("reason", c_uint32), ("durability", c_uint32)]


class Stats(Struct):
    _fields_ = [
        ("struct_bytes", c_size_t),
        ("calls", c_uint64),
        ("retries", c_uint64),
        ("reconnects", c_uint64),
        ("breaker_opens", c_uint64),
        ("loaded_blocks", c_uint64),
        ("loaded_bytes", c_uint64),
        ("stored_blocks", c_uint64),
        ("stored_bytes", c_uint64),
        ("verified_blocks", c_uint64),
        ("checksum_failures", c_uint64),
        ("revoked", c_uint64),
        ("misses_by_reason", c_uint64 * 32),
        ("staging_in_use", c_uint64),
        ("transport", ctypes.c_char * 8),
        ("breaker_state", c_uint32),
        ("breaker_reason", ctypes.c_char * 20),
    ]


# name -> (result, arguments). Every `error` is a char[ERROR_BYTES] or NULL.
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "kvgate_abi_version": (c_uint32, []),
    "kvgate_version": (c_char_p, []),
    "kvgate_reason_name": (c_char_p, [c_uint32]),
    "kvgate_client_create": (c_int, [POINTER(Options), POINTER(_P), _P]),
    "kvgate_client_destroy": (None, [_P]),
    "kvgate_open": (
        c_int,
        [_P, Bytes, c_char_p, c_uint64, c_double, POINTER(c_uint64), POINTER(OpenResult), _P],
    ),
    "kvgate_lookup": (c_int, [_P, POINTER(LookupRequest), c_double, POINTER(LookupResult), _P]),
    "kvgate_get": (c_int, [_P, POINTER(GetRequest), c_double, _P, _P]),
    "kvgate_set": (c_int, [_P, POINTER(SetRequest), c_double, _P, _P]),
    "kvgate_offer": (
        c_int,
        [
            *(_P, c_uint64, _P, _P, c_size_t, c_uint32, c_uint32, Bytes, c_uint32, c_double, _P),
            *(POINTER(c_uint64), _P),
        ],
    ),
    "kvgate_delete": (
        c_int,
        [_P, c_uint64, _P, c_size_t, c_int32, c_int32, c_uint32, c_double, _P, _P],
    ),
    "kvgate_touch": (
        c_int,
        [_P, c_uint64, Bytes, c_uint32, c_uint32, c_uint32, c_uint32, c_uint32, c_double, _P],
    ),
    "kvgate_pin": (c_int, [_P, c_uint64, c_uint64, c_uint32, c_double, POINTER(c_uint32), _P]),
    "kvgate_unpin": (c_int, [_P, c_uint64, c_uint64, c_double, _P]),
    "kvgate_ping": (c_int, [_P, c_double, _P]),
    "kvgate_staging_alloc": (_P, [_P, c_size_t]),
    "kvgate_staging_free": (None, [_P, _P]),
    "kvgate_gather": (c_uint32, [_P, _P, c_size_t]),
    "kvgate_crc32c": (c_uint32, [_P, c_size_t]),
    "kvgate_client_stats": (None, [_P, POINTER(Stats)]),
}


def library_path(library: str | None = None) -> str:
    """Where libkvgate.so is, or LibraryError."""
    if library:
        return library
    beside = Path(__file__).with_name("libkvgate.so")
    if beside.exists():
        return str(beside)
    path = os.environ.get("KVGATE_LIB", "")
    if path:
        return path
    raise LibraryError(
        tagged("KVG506", "libkvgate.so is neither beside the package kvgate nor at $KVGATE_LIB")
    )


def grpc_library_path() -> str:
    """libkvgate_grpc.so at $KVGATE_GRPC_LIB; empty: the core looks beside itself."""
    return os.environ.get("KVGATE_GRPC_LIB", "")


def load(library: str | None = None) -> ctypes.CDLL:
    """Loads the library, sets its prototypes, and checks that its ABI is ours."""
    path = library_path(library)
    try:
        lib = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        text = f"{path} cannot be used as libkvgate.so: {error}"
        raise LibraryError(tagged("KVG506", text)) from error
    version = lib.kvgate_abi_version()
    if version != ABI_VERSION:
        text = f"{path} has ABI {version}, this package needs {ABI_VERSION}"
        raise LibraryError(tagged("KVG506", text))
    return lib
