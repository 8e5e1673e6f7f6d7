# SPDX-License-Identifier: Apache-2.0
"""The client of each release speaks with this daemon, and shares blocks with this client."""

import json
import os
import re
import subprocess
import sys

import client_world
import golden_client
import harness
import pytest

CLIENTS = sorted(path for path in golden_client.FOLDER.glob("client_*") if path.is_dir())


def run(program, daemon, transport, *prefixes, package):
    """The report of old_client.py with the package in that folder, and with its own libraries."""
    hidden = ("KVGATE", "PYTHONPATH", "LD_")
    bare = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    sockets = [f"{daemon.run_dir}/local.sock", f"unix:{daemon.run_dir}/grpc.sock"]
    ran = subprocess.run(
        [sys.executable, program, transport, *sockets, *prefixes],
        env={**bare, **package},
        capture_output=True,
        text=True,
        timeout=4 * harness.HANG_S,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["stored"] == ["OK"] * 6, report
    assert (report["held"], report["same"], report["missed"]) == (6, True, True), report
    assert (report["others"], report["transport"]) == (True, transport), report
    return report


def test_each_release_has_its_client():
    changelog = (golden_client.ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## (\d+\.\d+\.\d+)(?! \(not released)", changelog, re.MULTILINE)
    names = {path.name for path in CLIENTS}
    assert {"client_0", *(f"client_{version}" for version in released)} <= names, (
        "record it: ./dev release-client"
    )
    for folder in CLIENTS:
        assert (folder / "client.tar.xz").stat().st_size <= golden_client.BYTES_MAX


@pytest.mark.parametrize("transport", client_world.TRANSPORTS)
@pytest.mark.parametrize("folder", CLIENTS, ids=lambda path: path.name)
def test_it_speaks_with_this_daemon_and_shares_blocks(daemon, tmp_path, folder, transport):
    manifest = golden_client.unpack(folder, tmp_path)
    old, new = f"{folder.name}-{transport}-old-", f"{folder.name}-{transport}-new-"
    recorded = {"PYTHONPATH": str(tmp_path)}
    present = {
        "PYTHONPATH": str(golden_client.ROOT / "client/python"),
        "KVGATE_LIB": os.environ["KVGATE_LIB"],
        "KVGATE_GRPC_LIB": os.environ["KVGATE_GRPC_LIB"],
    }
    ours = golden_client.HERE / "old_client.py"
    program = tmp_path / "old_client.py"
    report = run(program, daemon, transport, old, package=recorded)
    assert report["package"].startswith(str(tmp_path)) and report["version"] == manifest["version"]
    run(ours, daemon, transport, new, old, package=present)
    run(program, daemon, transport, f"{old}again-", new, package=recorded)
