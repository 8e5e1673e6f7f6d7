# SPDX-License-Identifier: Apache-2.0
"""Identity: everything that changes the meaning of a block's bytes, and its canonical bytes.

The form is that of proto/wire/identity.h (tests compare both through proto/wire/vectors.json):
"KVGID\\0\\0\\1", then u16le tag, u32le length, value for each field that is set, ascending by tag;
integers are u64le; 0, "" and empty lists are not written.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum

MAGIC = b"KVGID\0\0\1"

Text = str | bytes


class GroupKind(IntEnum):
    UNSPECIFIED = 0
    FULL_ATTENTION = 1
    SLIDING_WINDOW = 2
    STATE = 3


def _bytes(value: Text) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HI", tag, len(value)) + value


def _encode_field(tag: int, value: object) -> bytes:
    if isinstance(value, int):
        if not 0 <= value < 1 << 64:
            raise ValueError(f"identity field {tag}: {value} is not an unsigned 64-bit number")
        return _element(tag, struct.pack("<Q", value)) if value else b""
    if isinstance(value, str | bytes):
        return _element(tag, _bytes(value)) if value else b""
    if isinstance(value, Mapping):
        pairs = sorted((_bytes(key), _bytes(text)) for key, text in value.items())
        return b"".join(_element(tag, struct.pack("<H", len(k)) + k + v) for k, v in pairs)
    if isinstance(value, Sequence):
        return b"".join(
            _element(tag, item.encode() if isinstance(item, KvGroup) else _bytes(item))
            for item in value
        )
    raise TypeError(f"identity field {tag}: {type(value).__name__} has no encoding")


@dataclass(frozen=True)
class KvGroup:
    """One KV-cache group of the model."""

    kind: GroupKind = GroupKind.UNSPECIFIED
    block_tokens: int = 0
    layer_names: Sequence[str] = ()
    spec: str = ""
    page_bytes: int = 0
    window_tokens: int = 0

    def encode(self) -> bytes:
        return b"".join(
            _encode_field(tag, getattr(self, f.name)) for tag, f in enumerate(fields(self), 1)
        )


@dataclass(frozen=True)
class Identity:
    """Fields stand in the order of their tags (message kvgate.v1.Identity)."""

    model: str = ""
    weights_digest: bytes = b""
    weights_id: str = ""
    weights_epoch: int = 0
    lora_digests: Sequence[bytes] = ()
    rope: str = ""
    dtype: str = ""
    kv_cache_dtype: str = ""
    kv_scales: str = ""
    attention_backend: str = ""
    isa: str = ""
    arch: str = ""
    layout: str = ""
    groups: Sequence[KvGroup] = ()
    tp_size: int = 0
    pp_size: int = 0
    pcp_size: int = 0
    dcp_size: int = 0
    cp_interleave: int = 0
    prefix_hash_algorithm: str = ""
    prefix_hash_seed: str = ""
    hash_block_tokens: int = 0
    engine_version: str = ""
    shards: int = 0  # 0 and 1 are the same
    extra: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The canonical bytes: equal identities have equal bytes."""
        out = [MAGIC]
        for tag, f in enumerate(fields(self), 1):
            value = getattr(self, f.name)
            if f.name == "shards" and value == 1:
                continue
            out.append(_encode_field(tag, value))
        return b"".join(out)

    def digest(self) -> bytes:
        return hashlib.sha256(self.encode()).digest()
