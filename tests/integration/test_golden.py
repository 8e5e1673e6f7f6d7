# SPDX-License-Identifier: Apache-2.0
"""Data directories of every disk format are read by this daemon, through its real store."""

import shutil

import golden
import harness
import pytest
from harness import pb

ARCHIVES = sorted(golden.FOLDER.glob("format_*.tar.xz"))


def test_each_format_up_to_this_one_has_its_directory():
    wanted = [f"format_{number}.tar.xz" for number in range(1, golden.format_of_daemon() + 1)]
    assert [path.name for path in ARCHIVES] == wanted, "make it: ./dev golden-segments"
    assert all(path.stat().st_size < 200 << 10 for path in ARCHIVES)


def check(client, namespace):
    identity = pb().Identity.FromString(bytes.fromhex(namespace["identity"]))
    request = pb().OpenRequest(identity=identity, alias=namespace["alias"])
    client.ns = client.rpc.Open(request, timeout=harness.HANG_S).namespace
    held = namespace["held"]
    keys = [row["key"].encode() for row in held]
    answer = client.get(keys)
    assert [result.state for result in answer.results] == [pb().GET_STATE_OK] * len(keys)
    wanted = [
        golden.value(namespace["model"], row["key"].encode(), row["bytes"], row["version"])
        for row in held
    ]
    assert list(answer.values) == wanted
    assert {result.tier for result in answer.results} == {pb().TIER_DISK}
    gone = client.get([key.encode() for key in namespace["deleted"]])
    assert {result.state for result in gone.results} == {pb().GET_STATE_MISS}
    assert len(keys) > 10 and len(gone.results) > 3


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.split(".")[0])
@pytest.mark.parametrize("checkpoint", [True, False], ids=["with checkpoint", "segments alone"])
def test_what_it_holds_is_served_and_what_was_deleted_is_not(start, archive, checkpoint):
    data_dir = start.folder / "data"
    namespaces = golden.unpack(archive, data_dir)
    if not checkpoint:
        shutil.rmtree(data_dir / "checkpoint")
    daemon = start(*golden.FLAGS, data_dir=data_dir)
    client = daemon.client()
    for namespace in namespaces:
        check(client, namespace)
    wrong = {name: count for name, count in daemon.stats("log_corrupt").items() if count}
    assert not wrong


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.split(".")[0])
def test_it_is_written_on(start, archive):
    data_dir = start.folder / "data"
    namespace = golden.unpack(archive, data_dir)[0]
    daemon = start(*golden.FLAGS, data_dir=data_dir)
    client = daemon.client()
    client.open(model="third")
    client.set({b"new": b"value"}, durability=pb().DURABILITY_DEVICE)
    daemon.kill()
    daemon.start()
    client = daemon.client()
    client.open(model="third")
    assert list(client.get([b"new"]).values) == [b"value"]
    check(client, namespace)
