# SPDX-License-Identifier: Apache-2.0
"""What README tells a user to type, typed; only folder and sizes are other ones."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from harness import ROOT, SMALL

FOLDER = "/var/lib/kvgate"
README = (ROOT / "README.md").read_text()


@pytest.fixture
def readme_daemon(start):
    line = re.search(rf"^kvgated (--data-dir {FOLDER} .+)$", README, flags=re.MULTILINE)[1]
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


BAZEL = """#!/bin/sh
# What these tests run was built before them.
for word; do
  case $word in build) exit 0 ;; bazel-bin) exec echo "$BUILT" ;; esac
done
exit 1
"""


@pytest.fixture
def checkout(tmp_path):
    """The repository with an out/ of its own: run(command) as a user would, after a build."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("out", ".git") and not path.name.startswith("bazel-"):
            (tree / path.name).symlink_to(path)
    bazel = tmp_path / "bin" / "bazel"
    bazel.parent.mkdir()
    bazel.write_text(BAZEL)
    bazel.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bazel.parent}:{os.environ['PATH']}",
        "BUILT": str(Path(os.environ["KVGATED"]).parents[1]),
    }

    def run(command, **variables):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tree,
            env={**environment, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.tree = tree
    return run


def two_commands():
    section = README.split("## Two commands")[1].split("## ")[0]
    return [line.split("#")[0].strip() for line in re.findall(r"^\./dev .+$", section, re.M)]


def test_the_two_commands_are_these():
    assert two_commands() == ["./dev demo", "./dev test"]


def test_the_first_command_compares_every_byte_across_a_kill(checkout):
    sizes = "--requests 40 --again 20 --new 5 --memory 256MiB --disk 4GiB"
    said = checkout(f"{two_commands()[0]} {sizes}")
    rows = [[cell.strip() for cell in line.split("|")] for line in said.splitlines() if "|" in line]
    assert f"| {' | '.join(rows[0])} |" in README
    (after,) = [dict(zip(rows[0], row, strict=True)) for row in rows if row[0] == "after kill -9"]
    assert int(after["disk hits"]) > 0
    assert after["wrong bytes"] == after["failed calls"] == "0"
    assert "every byte of every hit was right" in said
    assert (checkout.tree / "out/demo.png").stat().st_size > 0


def test_the_second_command_ends_with_the_count(checkout):
    # One case of one group: everything is what runs this test.
    only = "-k test_no_number_is_given_twice -p no:cacheprovider"
    said = checkout(f"{two_commands()[1]} lint", PYTEST_ADDOPTS=only)
    assert said.splitlines()[-1] == "1 passed, 0 failed"


def test_the_first_hit_is_one(checkout, tmp_path):
    (checkout.tree / "out").mkdir()
    (checkout.tree / "out/bazel-bin").symlink_to(Path(os.environ["KVGATED"]).parents[1])
    section = README.split("## A first hit")[1].split("```")[1]
    build, path, *lines = section.strip().splitlines()
    assert build.startswith("./dev build ") and path.startswith("PATH=")
    place = tmp_path / "kvgate"
    typed = [line.replace("/tmp/kvgate", str(place)) for line in lines]
    typed[0] = typed[0].replace("1GiB", "256MiB").replace("4GiB", "1GiB")
    said = checkout("\n".join([build, path, *typed, "kill $!; wait $!"]))
    assert "world" in said
