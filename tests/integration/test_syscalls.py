# SPDX-License-Identifier: Apache-2.0
"""What the daemon asks of the kernel, by strace."""

import re
import shutil

import harness
import pytest
from harness import pb, value_of


@pytest.fixture
def traced(start):
    """traced(*flags): a daemon under strace; `calls()` gives the lines so far."""
    if not shutil.which("strace"):
        pytest.fail("strace is not installed: run ./dev setup")

    def begin(*flags, data_dir=None):
        trace = start.folder / "trace"
        # -D: the daemon itself is our child, and strace ends with it.
        wrapper = ("strace", "-D", "-f", "-qq", "-o", str(trace), "-e")
        wrapper += ("trace=openat,fcntl,io_uring_setup,io_uring_enter,preadv,pread64",)
        daemon = start(*harness.SMALL, *flags, wrapper=wrapper, data_dir=data_dir)
        daemon.calls = lambda: trace.read_text(errors="replace").splitlines()
        return daemon

    return begin


def use_disk(start_daemon, start):
    """Stores, restarts, reads from the disk; answers the daemon that read."""
    daemon = start()
    client = daemon.client()
    client.open()
    keys = [f"traced-{i}".encode() for i in range(4)]
    client.set({key: value_of(key, 2 << 20) for key in keys}, durability=pb().DURABILITY_LOGGED)
    daemon.stop()
    daemon = start_daemon(data_dir=daemon.data_dir)
    client = daemon.client()
    client.open()
    answer = client.get(keys)
    assert {result.tier for result in answer.results} == {pb().TIER_DISK}
    assert list(answer.values) == [value_of(key, 2 << 20) for key in keys]
    return daemon


def test_data_goes_past_the_page_cache_by_io_uring(start, traced):
    daemon = use_disk(traced, start)
    calls = daemon.calls()
    opened = [re.search(r"= (\d+)$", line) for line in calls if "kvgate.data" in line]
    direct = [line for line in calls if "F_SETFL" in line and "O_DIRECT" in line]
    assert any(f"fcntl({fd[1]}, " in line for fd in opened if fd for line in direct), direct
    assert any("io_uring_enter" in line for line in calls)
    assert daemon.client().open().disk_mode == "direct"


def test_the_posix_engine_needs_no_io_uring(start, traced):
    daemon = use_disk(lambda data_dir: traced("--io-engine=posix", data_dir=data_dir), start)
    calls = daemon.calls()
    assert not any(re.search(r"io_uring_(setup|enter)", line) for line in calls)
    assert any(re.search(r"pread", line) for line in calls)


def test_a_get_from_memory_touches_no_file(start, traced):
    daemon = use_disk(traced, start)
    client = daemon.client()
    client.open()
    keys = [f"traced-{i}".encode() for i in range(4)]
    client.get(keys)
    before, disk_reads = len(daemon.calls()), daemon.stats()["disk_reads_total"]
    for _ in range(20):
        assert {r.tier for r in client.get(keys).results} == {pb().TIER_MEMORY}
    reads = [line for line in daemon.calls()[before:] if re.search(r"pread|openat", line)]
    assert not reads
    # io_uring_enter goes on for other work: the disk counts its reads.
    assert disk_reads > 0
    assert daemon.stats()["disk_reads_total"] == disk_reads
