# SPDX-License-Identifier: Apache-2.0
"""Lets the lint tests use scripts/sources.py, scripts/golden.py and tests/bench/report.py."""

import pathlib
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(_ROOT / "scripts"), str(_ROOT / "tests/bench")]
