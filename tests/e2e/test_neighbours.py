# SPDX-License-Identifier: Apache-2.0
"""One process with torch, grpcio and pyarrow loads the libraries of kvgate; all of them work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

VISITOR = Path(__file__).resolve().parents[1] / "wheel/visitor.py"
NEIGHBOURS = ("torch", "grpc", "google.protobuf.message", "pyarrow", "pyarrow.flight", "numpy")


@pytest.mark.parametrize("transport", ["local", "grpc"])
def test_the_libraries_live_beside_torch_grpcio_and_pyarrow(daemon, transport):
    daemon.ensure_alive()
    run = subprocess.run(
        [
            sys.executable,
            VISITOR,
            transport,
            daemon.local_socket,
            daemon.grpc_target,
            *NEIGHBOURS,
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["stored"] == ["OK"] * 10, report
    assert (report["held"], report["same"], report["transport"]) == (10, True, transport)
