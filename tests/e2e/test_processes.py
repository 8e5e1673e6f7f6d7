# SPDX-License-Identifier: Apache-2.0
"""vLLM's default mode: front end, scheduler and worker in processes of their own, twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import Daemon
from engine import prompt

HERE = Path(__file__).parent


def run_engine(daemon: Daemon, model: str, ids: list[int]) -> dict[str, Any]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": path}
    command = [sys.executable, str(HERE / "child_engine.py"), model, daemon.local_socket]
    done = subprocess.run(
        [*command, json.dumps(ids)], env=environment, capture_output=True, text=True, timeout=400
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(lines) == 1, done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    return result


def test_blocks_outlive_the_engine_and_the_daemon(daemon: Daemon, tiny_model: str) -> None:
    ids = prompt(300, seed=1000)
    first = run_engine(daemon, tiny_model, ids)
    daemon.stop()
    daemon.start()
    second = run_engine(daemon, tiny_model, ids)
    assert first["external_hits"] == 0
    assert second["external_hits"] == 288
    assert second["counters"]["loaded_tokens_disk"] == 288
    assert second["counters"]["verified_blocks"] == 9
    assert second["tokens"] == first["tokens"]
