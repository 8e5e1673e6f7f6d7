# SPDX-License-Identifier: Apache-2.0
"""README's line for vLLM, typed as it stands: another model, this socket, a small engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import Daemon
from engine import prompt

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SMALL = "--dtype bfloat16 --max-model-len 1024 --enforce-eager --block-size 32"
START_S = 400  # finds hangs
SOCKET = "/var/lib/kvgate/run/local.sock"


def command(model: str, local_socket: str, port: int) -> list[str]:
    line = re.search(r"^vllm serve MODEL .+$", README, re.MULTILINE)
    assert line is not None and SOCKET in line[0]
    words = shlex.split(line[0].replace(SOCKET, local_socket))
    assert words[:3] == ["vllm", "serve", "MODEL"]
    vllm = str(Path(sys.executable).with_name("vllm"))
    return [vllm, "serve", model, *words[3:], *SMALL.split(), "--port", str(port)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, path: str, body: dict[str, Any] | None = None) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=START_S) as answer:
        said: bytes = answer.read()
        return said


@contextmanager
def serving(daemon: Daemon, model: str, log: Path) -> Iterator[int]:
    port = free_port()
    words = [*command(model, daemon.local_socket, port), "--host", "127.0.0.1"]
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    with log.open("ab") as out:
        server = subprocess.Popen(
            words, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait = threading.Event()
        for _ in range(START_S * 2):
            assert server.poll() is None, log.read_text()[-4000:]
            try:
                ask(port, "/health")
                break
            except urllib.error.URLError:
                wait.wait(0.5)
        else:
            raise AssertionError(log.read_text()[-4000:])
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def hits(port: int) -> float:
    """Prompt tokens that vLLM got from its connector."""
    page = ask(port, "/metrics").decode()
    found = re.findall(r"^vllm:external_prefix_cache_hits_total\{.*\} ([\d.e+]+)$", page, re.M)
    return sum(map(float, found))


def test_the_line_for_vllm_finds_blocks_again_after_a_restart_of_vllm(
    daemon: Daemon, tiny_model: str, tmp_path: Path
) -> None:
    body = {"model": tiny_model, "prompt": prompt(300, seed=77), "max_tokens": 4, "temperature": 0}
    texts = []
    for expected in (0, 288):
        with serving(daemon, tiny_model, tmp_path / "vllm.log") as port:
            answer = json.loads(ask(port, "/v1/completions", body))
            texts.append(answer["choices"][0]["text"])
            assert hits(port) == expected, (tmp_path / "vllm.log").read_text()[-4000:]
    assert texts[0] == texts[1]
