# SPDX-License-Identifier: Apache-2.0
"""`./dev bench vllm`: the figures of the full demo, measured until they are steady.

Arguments are those of tests/demo/demo_vllm.py. For the record, on a quiet machine at a commit:
`./dev bench vllm --json docs/benchmarks/vllm.json`, which also makes docs/benchmarks.md and
README's table anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))

import demo_vllm
import report

ROUNDS_MAX = 12  # of five prompts: 60 pairs


def main() -> int:
    args = demo_vllm.arguments(rounds_max=ROUNDS_MAX)
    status = demo_vllm.run_and_report(args, " ".join(["./dev bench vllm", *sys.argv[1:]]))
    if args.json and args.json.resolve().parent == report.ROOT / report.FOLDER:
        for name in report.update():
            print(f"wrote {name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
