# SPDX-License-Identifier: Apache-2.0
"""A worker in a pod of its own: does what lines on stdin say, answers each by a line of JSON.

`python pod_client.py SOCKET`; the lines are `open`, `set`, `get`, `about`. `set` stores COUNT
values that `get` knows again: it answers how many came back right, wrong and not at all.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter

import kvgate
from client_world import HANG_S, identity, keys

COUNT, SIZE = 16, 1 << 20
_TIMEOUT_MS = HANG_S * 1000


def contents() -> list[bytes]:
    return [random.Random(index).randbytes(SIZE) for index in range(COUNT)]


class Worker:
    def __init__(self, socket: str) -> None:
        self._client = kvgate.Client("local", client_name="pod", local_socket=socket)

    def open(self) -> dict[str, object]:
        self._namespace = self._client.open(identity(), timeout_ms=_TIMEOUT_MS)
        return {"error": self._namespace.error}

    def set(self) -> dict[str, object]:
        entries = [kvgate.SetEntry(k, v) for k, v in zip(keys(COUNT), contents(), strict=True)]
        logged = kvgate.Durability.LOGGED
        results = self._client.set(
            self._namespace, entries, durability=logged, timeout_ms=_TIMEOUT_MS
        )
        return dict(Counter(result.reason.name for result in results))

    def get(self) -> dict[str, object]:
        got = self._client.get(self._namespace, keys(COUNT), SIZE, timeout_ms=1000)
        pairs = list(zip(got, contents(), strict=True))
        missed = sum(value is None for value in got)
        right = sum(value == content for value, content in pairs)
        return {"right": right, "missed": missed, "wrong": COUNT - right - missed}

    def about(self) -> dict[str, object]:
        names = ("pid", "mnt", "net", "user")
        return {
            "pid": os.getpid(),
            "uid": os.getuid(),
            "transport": self._client.stats().transport,
            "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in names},
        }


def main() -> None:
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(getattr(worker, line.strip())()), flush=True)


if __name__ == "__main__":
    main()
