# SPDX-License-Identifier: Apache-2.0
"""Prometheus text, and the counters that promises are checked by."""

import os
import re
import subprocess
import urllib.request

import harness
import pytest
from harness import ROOT, pb, value_of


def scrape(daemon):
    url = f"http://{daemon.ready['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=harness.HANG_S) as answer:
        return answer.read().decode()


def samples(daemon, name):
    """Samples of one family: {frozenset of label pairs: value}."""
    found = {}
    for line in scrape(daemon).splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match:
            labels = re.findall(r'(\w+)="([^"]*)"', match[1] or "")
            found[frozenset(labels)] = float(match[2])
    return found


def calls(daemon, rpc, code):
    labels = frozenset({("door", "grpc"), ("rpc", rpc), ("code", code)})
    return samples(daemon, "kvgate_requests_total").get(labels, 0)


def test_the_port_is_printed_and_written(daemon):
    host, port = daemon.ready["metrics"].split(":")
    assert host == "127.0.0.1"
    assert (daemon.run_dir / "metrics.port").read_text().strip() == port


def test_calls_are_counted_by_door_rpc_and_code(daemon, client):
    ok, bad = calls(daemon, "Get", "OK"), calls(daemon, "Get", "INVALID_ARGUMENT")
    client.get([b"k"])
    with pytest.raises(Exception, match="empty"):
        client.get([])
    assert calls(daemon, "Get", "OK") == ok + 1
    assert calls(daemon, "Get", "INVALID_ARGUMENT") == bad + 1


def test_latencies_and_bytes_are_there(daemon, client):
    client.set({b"seen": value_of(b"seen", 100_000)})
    client.get([b"seen"])
    labels = frozenset({("door", "grpc"), ("rpc", "Get")})
    assert samples(daemon, "kvgate_request_seconds_count")[labels] >= 1
    out = frozenset({("door", "grpc"), ("direction", "out")})
    assert samples(daemon, "kvgate_request_bytes_total")[out] >= 100_000


def test_hits_are_counted_by_tier(daemon, client):
    client.set({b"hit": b"x"})
    memory = frozenset({("tier", "memory")})
    before = samples(daemon, "kvgate_hits_total")[memory]
    client.get([b"hit", b"no-hit"])
    assert samples(daemon, "kvgate_hits_total")[memory] == before + 1


@pytest.fixture
def restarted(start):
    """restarted(values): a client and its daemon, with the values on disk and not in memory."""

    def begin(values):
        daemon = start()
        client = daemon.client()
        client.open()
        client.set(values, durability=pb().DURABILITY_LOGGED)
        daemon.kill()
        daemon.start()
        client = daemon.client()
        client.open()
        return client, daemon

    return begin


def check_that_gets_stay_small(client, daemon, values):
    """One Get from disk, one from memory: no allocation of 64 KiB, no read of RocksDB."""
    for tier in (pb().TIER_DISK, pb().TIER_MEMORY):
        before = daemon.stats()
        answer = client.get(list(values))
        assert list(answer.values) == list(values.values())
        assert {result.tier for result in answer.results} == {tier}
        after = daemon.stats()
        assert after["get_large_allocations_measured"] == 1
        for name in ("get_large_allocations_total", "rocksdb_reads_total"):
            assert after[name] == before[name], (name, tier)


def test_a_get_makes_no_large_allocation_and_no_rocksdb_read(restarted):
    keys = [f"get-{i}".encode() for i in range(8)]
    values = {key: value_of(key, 2 << 20) for key in keys}
    check_that_gets_stay_small(*restarted(values), values)


def test_a_get_of_a_full_batch_makes_no_large_allocation(restarted):
    keys = [f"many-{i}".encode() for i in range(1024)]
    values = {key: value_of(key, 5000) for key in keys}
    check_that_gets_stay_small(*restarted(values), values)


def test_metrics_can_be_off(start):
    daemon = start(*harness.SMALL, "--metrics=off")
    assert daemon.ready["metrics"] == "off"
    assert not (daemon.run_dir / "metrics.port").exists()


def test_the_page_is_what_the_daemon_prints():
    said = subprocess.run(
        [os.environ["KVGATED"], "metrics"], capture_output=True, text=True, check=True
    ).stdout
    assert said == (ROOT / "docs/metrics.md").read_text()


def test_every_scraped_family_is_in_the_page(daemon, client):
    client.get([b"k"])
    page = (ROOT / "docs/metrics.md").read_text()
    listed = set(re.findall(r"^\| `([a-zA-Z_]+)` ", page, flags=re.MULTILINE))
    scraped = set(re.findall(r"^# TYPE kvgate_(\S+)", scrape(daemon), flags=re.MULTILINE))
    missing = [name for name in scraped if not listed & {name, f"kvgate_{name}"}]
    assert len(scraped) > 100 and not missing


def test_promtool_has_nothing_to_say(daemon, client):
    client.get([b"k"])
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape(daemon),
        capture_output=True,
        text=True,
        timeout=harness.HANG_S,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_saved_tokens_are_those_of_hits_by_tier(daemon, client):
    client.set({b"saves": b"x"})

    def saved():
        return samples(daemon, "kvgate_tokens_saved_total")[frozenset()]

    def hit_tokens():
        return samples(daemon, "kvgate_hit_tokens_total")[frozenset({("tier", "memory")})]

    before, hits_before = saved(), hit_tokens()
    client.get([b"saves"])
    assert saved() == before + 32 and hit_tokens() == hits_before + 32


def test_a_wait_for_the_disk_is_seen_as_one(restarted):
    client, daemon = restarted({b"deep": value_of(b"deep", 100_000)})

    def waits(tier):
        labels = frozenset({("rpc", "Get"), ("tier", tier)})
        return samples(daemon, "kvgate_get_wait_seconds_count")[labels]

    for tier, other in (("disk", "memory"), ("memory", "disk")):
        before, other_before = waits(tier), waits(other)
        client.get([b"deep"])
        assert (waits(tier), waits(other)) == (before + 1, other_before)
