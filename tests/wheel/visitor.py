# SPDX-License-Identifier: Apache-2.0
"""visitor.py TRANSPORT LOCAL_SOCKET GRPC_TARGET [MODULE…]: stores and loads, prints JSON.

The modules are imported first: neighbours that bring gRPC, protobuf and libstdc++ of their own.
"""

import importlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    transport, local_socket, grpc_target, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    import kvgate

    group = kvgate.KvGroup(kvgate.GroupKind.FULL_ATTENTION, 16, ("a",), "spec", 4096)
    # A namespace a visit.
    identity = kvgate.Identity(
        model=f"visitor {os.getpid()}", weights_id="w", layout="l", groups=(group,)
    )
    with kvgate.Client(transport, local_socket=local_socket, grpc_target=grpc_target) as client:
        ns = client.open(identity, timeout_ms=30_000)
        keys = [f"k{i}".encode() for i in range(10)]
        values = [os.urandom(200_000) for _ in keys]
        entries = [kvgate.SetEntry(k, v) for k, v in zip(keys, values, strict=True)]
        stored = client.set(ns, entries, timeout_ms=30_000)
        held = client.lookup(ns, keys, timeout_ms=30_000).held
        same = client.get(ns, keys, 200_000, timeout_ms=30_000) == values
        used = client.stats().transport
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    report = {
        "package": str(Path(kvgate.__file__).parent),
        "open": ns.error,
        "stored": [result.reason.name for result in stored],
        "held": held,
        "same": same,
        "transport": used,
        "libraries": sorted(path for path in mapped if ".so" in path),
    }
    print(json.dumps(report))


main()
