# SPDX-License-Identifier: Apache-2.0
"""Lets the lint tests use scripts/sources.py and scripts/golden.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
