# SPDX-License-Identifier: Apache-2.0
"""The wheel in a fresh environment, against the real daemon."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

VISITOR = Path(__file__).with_name("visitor.py")


def visit(python, daemon, transport, *modules, environment=None):
    sockets = [f"{daemon.run_dir}/local.sock", f"unix:{daemon.run_dir}/grpc.sock"]
    run = subprocess.run(
        [python, VISITOR, transport, *sockets, *modules],
        env=environment or clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["stored"] == ["OK"] * 10, report
    assert (report["held"], report["same"]) == (10, True), report
    assert report["transport"] == transport
    return report


def test_the_wheel_holds_both_libraries_and_the_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "kvgate/libkvgate.so",
        "kvgate/libkvgate_grpc.so",
        "kvgate/py.typed",
        "kvgate/vllm/__init__.py",
    } <= names
    assert "manylinux_2_34_x86_64" in wheel.name


def test_the_wheel_speaks_through_the_local_door_with_no_grpc_at_all(fresh_python, daemon):
    report = visit(fresh_python, daemon, "local")
    assert "site-packages" in report["package"]
    assert [path for path in report["libraries"] if "grpc" in path or "protobuf" in path] == []
    assert [path for path in report["libraries"] if "libstdc++" in path] == []


def test_the_wheel_speaks_grpc_with_libraries_of_its_own(fresh_python, daemon):
    report = visit(fresh_python, daemon, "grpc")
    brought = [path for path in report["libraries"] if "grpc" in path or "protobuf" in path]
    assert brought
    assert [path for path in brought if "site-packages/kvgate" not in path] == []


@pytest.mark.parametrize("transport", ["local", "grpc"])
def test_the_libraries_live_beside_grpcio_and_numpy(daemon, transport):
    import os

    modules = ["grpc", "google.protobuf.message", "numpy"]
    visit(sys.executable, daemon, transport, *modules, environment=dict(os.environ))


def test_all_versions_are_the_one_of_the_repository(fresh_python, wheel):
    script = (
        "import kvgate, kvgate._abi as abi; "
        "print(kvgate.__version__, abi.load().kvgate_version().decode())"
    )
    run = subprocess.run(
        [fresh_python, "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    version = (ROOT / "VERSION").read_text().strip()
    assert run.stdout.split() == [version, version]
    assert f"kvgate-{version}-" in wheel.name
