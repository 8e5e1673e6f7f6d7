# SPDX-License-Identifier: Apache-2.0
"""The configuration from outside: pages made of it, checks before a start, SIGHUP."""

import json
import os
import signal
import subprocess

import client_world
import harness
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
    assert status == 1 and "memroy" in said and '"memory"' in said


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
