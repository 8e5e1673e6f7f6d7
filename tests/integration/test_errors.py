# SPDX-License-Identifier: Apache-2.0
"""Ids of errors: what the program says of them, and that clients and the CLI give them."""

import json
import os
import re
import subprocess

import client_world
import harness
import kvgate
from harness import ROOT


def cli(*words):
    done = subprocess.run(
        [os.environ["KVGATE_CLI"], *map(str, words)],
        capture_output=True,
        text=True,
        timeout=harness.HANG_S,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_page_is_what_the_program_prints():
    status, page, _ = cli("errors", "--markdown")
    assert status == 0
    assert page == (ROOT / "docs/troubleshooting.md").read_text()


def test_one_id_is_explained_in_words_and_for_programs():
    status, said, _ = cli("errors", "KVG114")
    assert status == 0
    assert said.startswith("KVG114 later-format\n") and "What to do: " in said
    assert cli("errors", "kvg114") == (0, said, "")
    entry = json.loads(cli("--json", "errors", "KVG114")[1])
    assert entry["id"] == "KVG114" and entry["remedy"] in said and entry["cause"] in said


def test_all_ids_are_listed():
    rows = json.loads(cli("--json", "errors")[1])
    lines = cli("errors")[1].splitlines()
    assert [line.split()[:2] for line in lines] == [[row["id"], row["name"]] for row in rows]
    assert len(rows) > 40


def test_an_id_that_is_none_is_absent():
    status, said, why = cli("errors", "KVG999")
    assert status == 1 and said == "" and "KVG999" in why


def test_the_cli_says_which_error_it_met(tmp_path):
    status, _, said = cli("--run-dir", tmp_path, "stats")
    assert status == 3 and "[KVG501]" in said.splitlines()[0], said


def test_a_client_without_a_gateway_has_the_id_of_that(tmp_path):
    client = kvgate.Client("local", local_socket=str(tmp_path / "local.sock"))
    namespace = client.open(client_world.identity(), timeout_ms=2000)
    client.close()
    assert re.search(r" \[KVG501\]$", namespace.error), namespace.error
