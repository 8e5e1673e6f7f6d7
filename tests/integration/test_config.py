# SPDX-License-Identifier: Apache-2.0
"""The configuration from outside: pages made of it, checks before a start, SIGHUP."""

import json
import os
import signal
import subprocess

import client_world
import harness
import pytest
import yaml
from harness import ROOT


def config(*words, env=None):
    done = subprocess.run(
        [os.environ["KVGATED"], "config", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=harness.HANG_S,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout + done.stderr


def test_the_page_and_the_schema_are_those_that_the_daemon_prints():
    assert config("docs") == (0, (ROOT / "docs/config.md").read_text())
    assert config("schema") == (0, (ROOT / "docs/config.schema.json").read_text())


def test_check_says_whether_a_start_would_work(tmp_path):
    file = tmp_path / "kvgate.yaml"
    file.write_text(f"data_dir: {tmp_path}\nmemory: 64MiB\n")
    assert config("check", f"--config={file}") == (0, "the configuration is good\n")
    file.write_text(f"data_dir: {tmp_path}\nmemroy: 64MiB\n")
    status, said = config("check", f"--config={file}")
    assert status == 78 and "memroy" in said and '"memory"' in said


def _file(path, text="", mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def _formatted(folder):
    """As a start leaves it, by its size."""
    (folder / "made").mkdir()
    with (folder / "made/kvgate.data").open("wb") as file:
        file.write(b"KVGATESB" + b"x" * 4088)
        file.truncate(2 << 30)
    return folder / "made"


def _with(folder, name):
    (folder / "full").mkdir()
    (folder / "full" / name).touch()
    return folder / "full"


def _linked(folder):
    (folder / "link").symlink_to(folder / "d")
    return folder / "link"


# What is wrong, and the flags that make it so in a folder.
BAD = {
    "a file for a data directory": lambda f: [f"--data-dir={_file(f / 'x')}"],
    "below a file": lambda f: [f"--data-dir={_file(f / 'x')}/y"],
    "a place where nothing can be made": lambda f: ["--data-dir=/proc/kvgate"],
    "foreign data": lambda f: [f"--data-dir={_with(f, 'thesis.tex')}"],
    "a directory as data file": lambda f: [f"--data-dir={(f / 'e/kvgate.data/x').parents[1]}"],
    "one directory twice": lambda f: [f"--data-dir={f}/d,{f}/d/"],
    "one directory twice by a link": lambda f: [f"--data-dir={f}/d,{_linked(f)}"],
    "a file for a run directory": lambda f: [f"--run-dir={_file(f / 'x')}"],
    "too long a path": lambda f: [f"--run-dir={f}/{'long' * 30}"],
    "a file for a socket": lambda f: [f"--run-dir={_with(f, 'grpc.sock')}"],
    "a file for the local socket": lambda f: [f"--run-dir={_with(f, 'local.sock')}"],
    "no tokens file": lambda f: [f"--tokens-file={f}/none"],
    "a tokens file for all": lambda f: [f"--tokens-file={_file(f / 't', mode=0o644)}"],
    "an unreadable token": lambda f: [f"--tokens-file={_file(f / 't', 'default x')}"],
    "no space": lambda f: ["--disk=900TiB"],
    "too few segments": lambda f: ["--disk=100MiB"],
    "too few segments of a size": lambda f: ["--disk=1GiB", "--segment-bytes=256MiB"],
    "too large a segment": lambda f: ["--segment-bytes=1GiB"],
    "an odd segment": lambda f: ["--segment-bytes=5000000"],
    "less than it was made with": lambda f: [f"--data-dir={_formatted(f)}", "--disk=1GiB"],
    "TCP for all": lambda f: ["--grpc-tcp=0.0.0.0:0"],
    "too much staging": lambda f: ["--staging-bytes=200MiB"],
    "an unknown flag": lambda f: ["--memroy=1GiB"],
}


@pytest.mark.parametrize("what", BAD)
def test_check_says_what_a_start_says(what, tmp_path_factory):
    folder = tmp_path_factory.mktemp("b")
    (folder / "d").mkdir()
    if what == "a directory as data file":
        (folder / "e/kvgate.data").mkdir(parents=True)
    flags = [*harness.SMALL, *BAD[what](folder)]
    if not any(flag.startswith("--data-dir") for flag in flags):
        flags.append(f"--data-dir={folder}/d")
    before = sorted(folder.rglob("*"))
    status, checked = config("check", *flags)
    assert sorted(folder.rglob("*")) == before, "a check changes nothing"
    started = subprocess.run(
        [os.environ["KVGATED"], *flags], capture_output=True, text=True, timeout=harness.HANG_S
    )
    last = started.stderr.splitlines()[-1]
    assert last.startswith("kvgated error: ") and "[KVG1" in last and "[KVG100]" not in last
    assert (status, checked.splitlines()[-1]) == (started.returncode, last)


def test_a_disk_of_the_least_size_that_is_accepted_starts(start):
    flags = ("--memory=64MiB", "--segment-bytes=16MiB")
    least = 4 * (16 << 20) + (2 << 20)  # whole MiB
    where = f"--data-dir={start.folder}/0"
    assert config("check", where, *flags, f"--disk={least}")[0] == 0
    assert "[KVG112]" in config("check", where, *flags, f"--disk={least - (1 << 20)}")[1]
    start(*flags, f"--disk={least}")


def test_check_beside_a_running_daemon_notes_it(start):
    daemon = start(*harness.SMALL)
    status, said = config("check", f"--data-dir={daemon.data_dir}", *harness.SMALL)
    assert status == 0 and said.endswith("the configuration is good\n")
    assert "note: " in said and f"{daemon.data_dir}/LOCK is locked" in said and "[KVG108]" in said
    daemon.stop()
    quiet = config("check", f"--data-dir={daemon.data_dir}", *harness.SMALL)
    assert quiet == (0, "the configuration is good\n")


def test_check_knows_the_size_that_a_directory_was_made_with(start):
    daemon = start("--memory=64MiB", "--disk=1GiB")
    daemon.stop()
    flags = (f"--data-dir={daemon.data_dir}", "--memory=64MiB")
    status, said = config("check", *flags, "--disk=2GiB")
    assert status == 0 and said.startswith("note: --disk: ") and "was made with 1GiB" in said
    assert config("check", *flags) == (0, "the configuration is good\n")
    status, said = config("check", *flags, "--disk=512MiB")
    assert status == 78 and "512MiB is too small" in said and "was made with 1GiB" in said


def test_check_warns_of_more_memory_than_there_is(tmp_path):
    flags = (f"--data-dir={tmp_path}", "--memory=900TiB", "--disk=0")
    status, said = config("check", *flags)
    assert status == 0
    assert said.startswith("warning: --memory: 900TiB is above ")
    assert "limit sum" in config("print", "--effective", *flags)[1]


def test_what_is_printed_is_a_file_that_means_the_same(tmp_path):
    flags = (f"--data-dir={tmp_path}", "--memory=64MiB", "--tenants=a,b", "--metrics=off")
    status, text = config("print", "--effective", *flags)
    assert status == 0
    schema = json.loads((ROOT / "docs/config.schema.json").read_text())
    assert set(yaml.safe_load(text)) == set(schema["properties"])
    file = tmp_path / "again.yaml"
    file.write_text(text)
    assert config("print", "--effective", f"--config={file}") == (0, text)
    assert config("print", *flags)[1].count("\n") == 4


def test_sighup_takes_over_what_may_change(start):
    file = start.folder / "kvgate.yaml"
    file.write_text("log_level: info\n")
    daemon = start(*harness.SMALL, f"--config={file}")
    file.write_text("log_level: debug\ndrain_ms: 5\nflush_delay_ms: 9\n")
    daemon.send(signal.SIGHUP)
    needed = "reloaded; a restart is needed for flush_delay_ms"
    client_world.eventually(lambda: needed in daemon.text())
    file.write_text("log_level: loud\n")
    daemon.send(signal.SIGHUP)
    client_world.eventually(lambda: "reload refused" in daemon.text())
    assert daemon.alive and daemon.stop() == 0
