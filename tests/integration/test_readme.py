# SPDX-License-Identifier: Apache-2.0
"""What README tells a user to type, typed; only folder and sizes are other ones."""

import re
import shlex
import subprocess

import pytest
from harness import ROOT, SMALL

FOLDER = "/var/lib/kvgate"
README = (ROOT / "README.md").read_text()


@pytest.fixture
def readme_daemon(start):
    line = re.search(r"^kvgated (.+)$", README, flags=re.MULTILINE)[1]
    words = iter(shlex.split(line))
    flags = dict(zip(words, words, strict=True))
    assert flags.pop("--data-dir") == FOLDER
    flags |= dict(flag.split("=") for flag in SMALL)
    return start(*[f"{name}={value}" for name, value in flags.items()])


def test_the_line_for_the_daemon_makes_the_socket_of_the_line_for_vllm(readme_daemon):
    socket = re.search(r'"local_socket":"([^"]+)"', README)[1]
    assert socket.startswith(f"{FOLDER}/")
    here = socket.replace(FOLDER, str(readme_daemon.data_dir))
    assert readme_daemon.ready["local"] == here


def test_the_line_for_hits_shows_them(readme_daemon):
    client = readme_daemon.client()
    client.open()
    client.set({b"k": b"v" * 1000})
    client.get([b"k"])
    line = re.search(r"`(curl [^`]+)`", README)[1].replace(FOLDER, str(readme_daemon.data_dir))
    shown = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert 'kvgate_hits_total{tier="memory"} 1\n' in shown.stdout
