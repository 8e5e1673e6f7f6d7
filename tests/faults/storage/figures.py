# SPDX-License-Identifier: Apache-2.0
"""Runs the fault tests of the storage engine and writes what they counted.

./dev faults storage [--quick]: the long form, or the one of the test command. The figures go to
docs/reliability.json, and from there into the table of docs/reliability.md.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
JSON = ROOT / "docs/reliability.json"
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
FIGURE = re.compile(r"^figure (\w+)\.(\w+) (\S+)$", re.MULTILINE)


def run(program, form):
    """A test program's figures, whether it passed, and its seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "KVGATE_FAULTS": form},
    )
    seconds = round(time.monotonic() - began, 1)
    if done.returncode != 0:
        print(done.stdout[-4000:], done.stderr[-4000:])
    figures = {f"{test}.{name}": float(value) for test, name, value in FIGURE.findall(done.stdout)}
    return figures, done.returncode == 0, seconds


def table(results):
    lines = ["| test program | form | passed | seconds | counted |", "|---|---|---|---|---|"]
    for name, one in results.items():
        counted = ", ".join(f"{key} {value:,.0f}" for key, value in one["figures"].items())
        passed = "yes" if one["passed"] else "NO"
        lines.append(f"| `{name}` | {one['form']} | {passed} | {one['seconds']} | {counted} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("programs", nargs="+")
    arguments = parser.parse_args()
    form = "quick" if arguments.quick else "long"
    results = json.loads(JSON.read_text()) if JSON.exists() else {}
    failed = False
    for program in arguments.programs:
        name = Path(program).name
        print(f"{name}, {form}", flush=True)
        figures, passed, seconds = run(program, form)
        results[name] = {"form": form, "passed": passed, "seconds": seconds, "figures": figures}
        print(f"  {'passed' if passed else 'FAILED'} in {seconds} s: {figures}", flush=True)
        failed |= not passed
        # After each, so that a run that is cut short leaves what it found.
        JSON.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{table(dict(sorted(results.items())))}\n{END}{rest}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
