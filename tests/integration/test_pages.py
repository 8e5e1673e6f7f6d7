# SPDX-License-Identifier: Apache-2.0
"""Pages that say what the daemon has: names in them and names in it are the same."""

import os
import re
import subprocess

import harness
from harness import ROOT


def names_in(page, pattern):
    return set(re.findall(pattern, (ROOT / "docs" / page).read_text(), flags=re.MULTILINE))


def test_every_counter_is_in_the_page_of_metrics(start):
    tokens = start.folder / "tokens"  # their counters are there when they are asked for
    tokens.write_text("default 0123456789abcdef\n")
    tokens.chmod(0o600)
    daemon = start(*harness.SMALL, f"--tokens-file={tokens}")
    listed = names_in("metrics.md", r"^\| `([a-zA-Z_]+)` \| (?:counter|gauge) \| [^|]+ \|$")
    assert set(daemon.stats()) == listed


def test_every_flag_is_in_the_page_of_settings():
    said = subprocess.run(
        [os.environ["KVGATED"], "--help"], capture_output=True, text=True, check=True
    ).stdout
    flags = set(re.findall(r"^ +(--[a-z-]+)", said, flags=re.MULTILINE))
    flags -= {"--config", "--version", "--effective"}
    assert flags == names_in("config.md", r"^\| `(--[a-z-]+)`")
