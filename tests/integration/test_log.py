# SPDX-License-Identifier: Apache-2.0
"""The log from outside: format, limits, ids, slow calls, engines that should share."""

import json
import re
import shutil
import signal

import client_world
import harness
import hung_device
import pytest
from harness import pb


def lines_with(daemon, word):
    return [line for line in daemon.text().splitlines() if word in line]


def test_every_line_of_a_json_log_is_an_object(start):
    folder = start.folder
    file = folder / "kvgate.yaml"
    file.write_text("log_format: text\n")
    daemon = start(*harness.SMALL, f"--config={file}")
    file.write_text("log_format: json\n")
    daemon.send(signal.SIGHUP)
    client_world.eventually(lambda: "reloaded" in daemon.text())
    began = len(daemon.text().splitlines())
    daemon.client().open()
    assert daemon.stop() == 0
    objects = [json.loads(line) for line in daemon.text().splitlines()[began - 1 :]]
    assert all({"time", "level", "message"} <= set(one) for one in objects)
    opened = [one for one in objects if one["message"].startswith("open by")]
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9]+", opened[0]["id"])
    assert opened[0]["id"].split("-")[0] == daemon.ready["incarnation"]


def test_calls_cannot_flood_the_log(start):
    daemon = start()
    client = daemon.client()
    for _ in range(200):
        client.open()
    # One place writes 10 lines a second at most, and the calls above take no 10 s.
    client_world.eventually(lambda: client.open() and lines_with(daemon, "suppressed="))
    assert len(lines_with(daemon, "open by")) < 200


def test_a_slow_call_says_where_its_time_went(start, device):
    daemon = start(*harness.SMALL, *hung_device.FLAGS, "--slow-ms=200", wrapper=device.wrapper)
    client = daemon.client()
    client.open()
    client.set({b"k": b"x"}, durability=pb().DURABILITY_LOGGED)
    assert not lines_with(daemon, "slow call")
    device.hang()
    client.set({b"slow": b"x"}, durability=pb().DURABILITY_LOGGED, answer_by_ms=500)
    client_world.eventually(lambda: bool(lines_with(daemon, "slow call")))
    fields = dict(re.findall(r"(\w+)=(\S+)", lines_with(daemon, "slow call")[0]))
    assert (fields["door"], fields["rpc"]) == ("grpc", "Set")
    parts = ("before_store_ms", "store_ms", "answer_ms", "sending_ms")
    assert max(parts, key=lambda name: float(fields[name])) == "store_ms"
    assert sum(float(fields[name]) for name in parts) == pytest.approx(float(fields["ms"]), abs=0.5)
    device.come_back()


def test_an_engine_that_should_share_is_told_which_field_differs(start):
    daemon = start()
    holder, seeker = daemon.client(), daemon.client()
    holder.open()
    holder.set({b"k": b"x"})
    seeker.open(rope="another")
    seeker.lookup([f"key-{i}".encode() for i in range(1000)])
    client_world.eventually(lambda: daemon.stats()["namespaces_without_hits"] == 1)
    (line,) = lines_with(daemon, "has blocks")
    assert " field=rope " in line and "here=another" in line


def test_flipped_bytes_on_disk_are_told_with_their_place_and_key(start):
    daemon = start(*harness.SMALL)
    client = daemon.client()
    client.open()
    client.set({b"victim": b"precious" * 4096}, durability=pb().DURABILITY_LOGGED)
    assert daemon.stop() == 0
    data = daemon.data_dir / "kvgate.data"
    with data.open("r+b") as file:
        at = file.read(256 << 20).index(b"preciousprecious")
        file.seek(at + 100)
        file.write(b"flipped")
    daemon.start()
    assert lines_with(daemon, "store: 1 blocks found in ")
    client = daemon.client()
    client.open()
    client.get([b"victim"])
    client_world.eventually(lambda: bool(lines_with(daemon, "a block was dropped")))
    (line,) = lines_with(daemon, "a block was dropped")
    for part in (f"device={data}", "segment=0", f"offset={at}", "key=victim"):
        assert part in line


def test_another_disk_size_is_told_and_a_smaller_one_refused(start):
    daemon = start("--memory=256MiB", "--disk=1GiB")
    data = daemon.data_dir / "kvgate.data"
    assert daemon.stop() == 0
    daemon.flags = ("--memory=256MiB", "--disk=2GiB")
    daemon.start()
    (line,) = lines_with(daemon, "was made with")
    assert f"{daemon.data_dir} was made with 1GiB; disk 2GiB is not used beyond it" in line
    assert data.stat().st_size == 1 << 30
    assert ", disk 1GiB over 1 directories" in lines_with(daemon, "limit sum")[-1]
    assert daemon.stop() == 0
    daemon.flags = ("--memory=256MiB", "--disk=512MiB")
    with pytest.raises(AssertionError, match="not ready"):
        daemon.start()
    said = daemon.text()
    assert "was made with 1GiB: leave --disk out" in said and "[KVG123]" in said
    assert data.stat().st_size == 1 << 30


def test_a_data_file_that_is_gone_and_a_checkpoint_that_is_lost_are_told(start):
    daemon = start(*harness.SMALL)
    client = daemon.client()
    client.open()
    client.set({b"k": b"x"}, durability=pb().DURABILITY_LOGGED)
    assert daemon.stop() == 0
    shutil.rmtree(daemon.data_dir / "checkpoint")
    daemon.start()
    assert lines_with(daemon, "checkpoint rebuilt from the footers of 1 segments with 1 blocks in")
    assert daemon.stop() == 0
    (daemon.data_dir / "kvgate.data").unlink()
    daemon.start()
    assert lines_with(daemon, "formatted anew, what it held is lost")
