# SPDX-License-Identifier: Apache-2.0
"""A client that was made from the .proto files alone."""

import subprocess
import sys

import harness


def run_stranger(target):
    return subprocess.run(
        [sys.executable, harness.ROOT / "client/examples/stranger.py", target],
        capture_output=True,
        text=True,
        timeout=harness.HANG_S,
    )


def test_the_example_opens_sets_looks_up_gets_and_deletes(daemon):
    done = run_stranger(f"unix:{daemon.run_dir}/grpc.sock")
    assert done.returncode == 0, done.stderr
    assert "stored: ['SET_STATE_STORED', 'SET_STATE_STORED', 'SET_STATE_STORED']" in done.stdout
    assert "held: 3 blocks, 48 tokens" in done.stdout
    assert "got: [2097152, 2097152, 2097152] bytes" in done.stdout
    assert "deleted: ['GET_STATE_MISS', 'GET_STATE_MISS', 'GET_STATE_MISS']" in done.stdout


def test_the_example_works_over_tcp(start):
    daemon = start(*harness.SMALL, "--grpc-tcp=127.0.0.1:0")
    done = run_stranger(daemon.ready["tcp"])
    assert done.returncode == 0, done.stderr
