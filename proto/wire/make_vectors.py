#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes vectors.json: a second implementation of the wire formats, straight from their text.

Nothing is shared with the C++ code, so that the two check each other. Needs Python 3.9 alone:
    python3 proto/wire/make_vectors.py > proto/wire/vectors.json
"""

import hashlib
import json
import struct

MASK = (1 << 64) - 1


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def siphash128(secret, data):
    k0, k1 = struct.unpack("<QQ", secret)
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D ^ 0xEE,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]

    def rotl(x, n):
        return (x << n | x >> (64 - n)) & MASK

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    tail = len(data) % 8
    words = data + bytes(7 - tail) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", words):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    lo = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    hi = v[0] ^ v[1] ^ v[2] ^ v[3]
    return lo, hi


def block_crc(ns_digest, key, group, shard, value):
    return crc32c(
        ns_digest
        + struct.pack("<H", len(key))
        + key
        + struct.pack("<BBQ", group, shard, len(value))
        + value
    )


GROUP_TAGS = {
    "kind": 1,
    "block_tokens": 2,
    "layer_names": 3,
    "spec": 4,
    "page_bytes": 5,
    "window_tokens": 6,
}
TAGS = {
    name: tag
    for tag, name in enumerate(
        [
            "model",
            "weights_digest",
            "weights_id",
            "weights_epoch",
            "lora_digests",
            "rope",
            "dtype",
            "kv_cache_dtype",
            "kv_scales",
            "attention_backend",
            "isa",
            "arch",
            "layout",
            "groups",
            "tp_size",
            "pp_size",
            "pcp_size",
            "dcp_size",
            "cp_interleave",
            "prefix_hash_algorithm",
            "prefix_hash_seed",
            "hash_block_tokens",
            "engine_version",
            "shards",
            "extra",
        ],
        start=1,
    )
}
BYTES = {"weights_digest", "lora_digests"}  # hex in the JSON


def element(tag, value):
    return struct.pack("<HI", tag, len(value)) + value


def encode_fields(fields, tags):
    out = b""
    for name, tag in sorted(tags.items(), key=lambda item: item[1]):
        value = fields.get(name)
        if not value or (name == "shards" and value == 1):
            continue
        if name == "groups":
            elements = [encode_fields(group, GROUP_TAGS) for group in value]
        elif name == "extra":
            pairs = sorted((k.encode(), v.encode()) for k, v in value.items())
            elements = [struct.pack("<H", len(k)) + k + v for k, v in pairs]
        elif isinstance(value, int):
            elements = [struct.pack("<Q", value)]
        else:
            to_bytes = bytes.fromhex if name in BYTES else str.encode
            elements = [to_bytes(v) for v in (value if isinstance(value, list) else [value])]
        out += b"".join(element(tag, e) for e in elements)
    return out


def encode_identity(fields):
    return b"KVGID\0\0\1" + encode_fields(fields, TAGS)


def ns_digest(tenant, digest):
    return hashlib.sha256(
        b"kvgate-ns-1" + struct.pack("<H", len(tenant)) + tenant + digest
    ).digest()


IDENTITIES = [
    {"model": "opaque"},
    {
        "model": "demo/llama-16l",
        "weights_digest": hashlib.sha256(b"weights").hexdigest(),
        "dtype": "bfloat16",
        "kv_cache_dtype": "auto",
        "attention_backend": "TORCH_SDPA",
        "isa": "avx512",
        "arch": "x86_64",
        "layout": "cpu-opaque-v1",
        "groups": [
            {
                "kind": 1,
                "block_tokens": 32,
                "layer_names": ["layers.0", "layers.1"],
                "spec": "full heads=4 dim=64",
                "page_bytes": 32768,
            }
        ],
        "tp_size": 1,
        "pp_size": 1,
        "prefix_hash_algorithm": "sha256_cbor",
        "prefix_hash_seed": "0",
        "hash_block_tokens": 32,
        "engine_version": "vllm 0.32",
        "shards": 1,
    },
    {
        "model": "m",
        "weights_id": "w-7",
        "weights_epoch": 2**40 + 1,
        "lora_digests": ["00" * 32, "ff" * 32],
        "rope": '{"theta":1e6}',
        "dtype": "fp16",
        "kv_cache_dtype": "fp8",
        "kv_scales": "s",
        "attention_backend": "FA3",
        "isa": "none",
        "arch": "sm_90",
        "layout": "NHD",
        "groups": [
            {"kind": 1, "block_tokens": 16, "page_bytes": 65536},
            {
                "kind": 2,
                "block_tokens": 16,
                "layer_names": ["a"],
                "page_bytes": 65536,
                "window_tokens": 1024,
            },
            {"kind": 3, "block_tokens": 256, "spec": "mamba2"},
        ],
        "tp_size": 8,
        "pp_size": 2,
        "pcp_size": 3,
        "dcp_size": 4,
        "cp_interleave": 5,
        "prefix_hash_algorithm": "sha256",
        "prefix_hash_seed": "x",
        "hash_block_tokens": 16,
        "engine_version": "vllm 0.32",
        "shards": 16,
        "extra": {"b": "2", "a": "1", "": "empty key"},
    },
]


def pattern(n):
    return bytes((i * 7 + 3) & 255 for i in range(n))


def main():
    crcs = [
        {"data_hex": d.hex(), "crc32c": f"{crc32c(d):08x}"}
        for d in (
            b"",
            b"a",
            b"123456789",
            bytes(32),
            b"\xff" * 32,
            bytes(range(32)),
            bytes(range(31, -1, -1)),
            pattern(1000),
        )
    ]
    secret = bytes(range(16))
    sips = []
    for n in (0, 1, 7, 8, 9, 15, 16, 63):
        lo, hi = siphash128(secret, bytes(range(n)))
        sips.append(
            {
                "secret_hex": secret.hex(),
                "data_hex": bytes(range(n)).hex(),
                "hash_hex": struct.pack("<QQ", lo, hi).hex(),
            }
        )
    identities = []
    for fields in IDENTITIES:
        form = encode_identity(fields)
        digest = hashlib.sha256(form).digest()
        identities.append(
            {
                "fields": fields,
                "canonical_hex": form.hex(),
                "digest_hex": digest.hex(),
                "ns_digests": [
                    {"tenant": t, "ns_digest_hex": ns_digest(t.encode(), digest).hex()}
                    for t in ("", "default", "t" * 64)
                ],
            }
        )
    ns = bytes.fromhex(identities[1]["ns_digests"][1]["ns_digest_hex"])
    blocks = []
    for key, group, shard, value in (
        (b"k", 0, 0, b"v"),
        (b"\0\xff" * 512, 3, 7, pattern(700)),
        (b"prefix/0001", 1, 0, bytes(4096)),
    ):
        lo, hi = siphash128(secret, ns + struct.pack("<H", len(key)) + key)
        blocks.append(
            {
                "ns_digest_hex": ns.hex(),
                "key_hex": key.hex(),
                "group": group,
                "shard": shard,
                "value_hex": value.hex(),
                "block_crc": f"{block_crc(ns, key, group, shard, value):08x}",
                "value_crc": f"{crc32c(value):08x}",
                "secret_hex": secret.hex(),
                "key_hash_hex": struct.pack("<QQ", lo, hi).hex(),
            }
        )
    print(
        json.dumps(
            {
                "about": "Test vectors of proto/wire, written by make_vectors.py. "
                "crc: big-endian hex of the number; hash: lo then hi, little-endian.",
                "crc32c": crcs,
                "siphash128": sips,
                "identities": identities,
                "blocks": blocks,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
