# SPDX-License-Identifier: Apache-2.0
"""Blocks are left out of core dumps, in the daemon and in its clients."""

import re
from pathlib import Path

from client_world import HANG_S, connect, identity, keys, load, store, values


def mappings(pid):
    """(name, flags) of every mapping; "dd" among the flags: not dumped."""
    found, name = [], ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$", line):
            name = head[1]
        elif line.startswith("VmFlags:"):
            found.append((name, line.split()[1:]))
    return found


def check(pid):
    found = mappings(pid)
    assert any("dd" not in flags for _, flags in found), "the kernel does not tell"
    for what in ("kvgate-extent", "kvgate-staging"):
        flags = [flags for name, flags in found if what in name]
        assert flags, f"{what} is not mapped"
        assert all("dd" in each for each in flags), what


def test_pool_and_staging_are_not_dumped(daemon):
    with connect(daemon, "local") as client:
        ns = client.open(identity(), timeout_ms=HANG_S * 1000)
        names, contents = keys(4), values(4, 1 << 20)
        store(client, ns, names, contents)
        assert [bytes(v) for v in load(client, ns, names, 1 << 20)] == contents
        check(daemon.pid)
        check("self")
