# SPDX-License-Identifier: Apache-2.0
"""`./dev bench vllm`: the figures of the full demo; see tests/demo/demo_vllm.py for arguments."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "demo" / "demo_vllm.py"

if __name__ == "__main__":
    sys.argv[0] = str(DEMO)
    runpy.run_path(str(DEMO), run_name="__main__")
