# SPDX-License-Identifier: Apache-2.0
"""old_client.py TRANSPORT LOCAL_SOCKET GRPC_TARGET PREFIX [LOAD_PREFIX]: prints JSON.

Stores, looks up and loads blocks named PREFIX, then loads those that another client stored as
LOAD_PREFIX. It is recorded beside the package and the libraries of a release (golden_client.py) and
runs with those, so it says nothing that a later package could take away from it.
"""

import hashlib
import json
import sys

COUNT, SIZE = 6, 70_000


def value(key):
    return (hashlib.sha256(key).digest() * (SIZE // 32 + 1))[:SIZE]


def main():
    transport, local_socket, grpc_target, *prefixes = sys.argv[1:]
    import kvgate
    from kvgate import _abi

    group = kvgate.KvGroup(kvgate.GroupKind.FULL_ATTENTION, 16, ("a",), "spec", 4096)
    identity = kvgate.Identity(model="releases", weights_id="w", layout="l", groups=(group,))
    with kvgate.Client(transport, local_socket=local_socket, grpc_target=grpc_target) as client:
        ns = client.open(identity, timeout_ms=30_000)
        keys = [f"{prefixes[0]}{i}".encode() for i in range(COUNT)]
        entries = [kvgate.SetEntry(key, value(key)) for key in keys]
        stored = client.set(ns, entries, timeout_ms=30_000)
        held = client.lookup(ns, keys, timeout_ms=30_000).held
        same = client.get(ns, keys, SIZE, timeout_ms=30_000) == [value(key) for key in keys]
        missed = client.get(ns, [b"never stored"], SIZE, timeout_ms=30_000)
        others = [f"{prefix}{i}".encode() for prefix in prefixes[1:] for i in range(COUNT)]
        read = client.get(ns, others, SIZE, timeout_ms=30_000) if others else []
        used = client.stats().transport
    report = {
        "package": kvgate.__file__,
        "version": kvgate.__version__,
        "abi": _abi.load().kvgate_abi_version(),
        "open": ns.error,
        "stored": [result.reason.name for result in stored],
        "held": held,
        "same": same,
        "missed": missed == [None] and int(missed.code) == 0,
        "others": read == [value(key) for key in others],
        "transport": used,
    }
    print(json.dumps(report))


main()
