# SPDX-License-Identifier: Apache-2.0
"""`./dev bench report [--check]`: the pages that are made from docs/benchmarks/*.json.

Each JSON file holds the rows of one `./dev bench NAME --json FILE`; FIELDS says what a row has.
docs/benchmarks.md is made whole; in README.md, what stands between `<!-- bench:NAME -->` and
`<!-- bench end -->`. --check writes nothing; its exit status is 1 when a page is not what the JSON
makes of it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "docs/benchmarks"
PAGE = "docs/benchmarks.md"
README = "README.md"
FIELDS = (
    *("name", "value", "unit", "reference_name", "reference_value", "ratio", "goal", "pass"),
    *("runs", "ci95", "commit", "dirty", "machine", "command"),
)
HEAD = """# Benchmarks

What was measured, by which command, at which commit. `./dev bench report` makes this page from the
JSON of each run, which also holds the raw pairs. `ratio` is the median over pairs of value and
reference; `noisy` means that its 95 % interval is wider than 5 % to a side: neither pass nor fail.
"""
COLUMNS = ("name", "value", "unit", "reference", "ratio", "goal", "pass", "95 % half-width")

Rows = list[dict[str, Any]]


def load(file: Path) -> Rows:
    rows: Rows = json.loads(file.read_text())
    for row in rows:
        if missing := [name for name in FIELDS if name not in row]:
            raise ValueError(f"{file.name}: row {row.get('name', '?')} has no {missing[0]}")
        if more := sorted(row.keys() - set(FIELDS)):
            raise ValueError(f"{file.name}: row {row['name']} has an unknown field {more[0]}")
    return rows


def page(root: Path) -> str:
    files = sorted((root / FOLDER).glob("*.json"))
    return "\n".join([HEAD, *(_section(file, load(file)) for file in files)])


def readme(root: Path) -> str:
    """README with each marked part made anew."""

    def part(found: re.Match[str]) -> str:
        make = README_PARTS[found["name"]]
        rows = {row["name"]: row for row in load(root / FOLDER / f"{found['name']}.json")}
        return f"{found['begin']}\n{make(rows)}{found['end']}"

    marked = r"(?P<begin><!-- bench:(?P<name>\w+) -->)\n.*?(?P<end><!-- bench end -->)"
    return re.sub(marked, part, (root / README).read_text(), flags=re.DOTALL)


def pages(root: Path) -> dict[Path, str]:
    return {root / PAGE: page(root), root / README: readme(root)}


def update(root: Path = ROOT) -> list[str]:
    """Writes the pages; the names of those that changed."""
    changed = []
    for path, text in pages(root).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path.relative_to(root).as_posix())
    return changed


def _section(file: Path, rows: Rows) -> str:
    lines = [f"## {file.stem}", ""]
    for origin in dict.fromkeys(_origin(row) for row in rows):
        lines += [origin, "", _line(COLUMNS), "|" + "---|" * len(COLUMNS)]
        lines += [_line(_cells(row)) for row in rows if _origin(row) == origin]
        lines.append("")
    return "\n".join([*lines, f"Raw pairs: [`{FOLDER}/{file.name}`](benchmarks/{file.name}).", ""])


def table(rows: Rows) -> str:
    """For people; the rows of one run."""
    return "\n".join(
        [_line(COLUMNS), "|" + "---|" * len(COLUMNS), *(_line(_cells(r)) for r in rows)]
    )


def _origin(row: dict[str, Any]) -> str:
    dirty = " with local changes" if row["dirty"] else ""
    return f"`{row['command']}`, commit {row['commit']}{dirty}, {row['machine']}."


def _cells(row: dict[str, Any]) -> list[str]:
    reference = _number(row["reference_value"])
    if reference and row["reference_name"]:
        reference += f" ({row['reference_name']})"
    named = {True: "yes", False: "no", None: ""}
    passed = named.get(row["pass"], row["pass"])
    numbers = (_number(row["ratio"]), row["goal"] or "", passed, _number(row["ci95"]))
    return [row["name"], _number(row["value"]), row["unit"], reference, *numbers]


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _vllm(rows: dict[str, dict[str, Any]]) -> str:
    prompt = rows["vllm_prompt"]["value"]
    seconds, cold = rows["vllm_ttft_cold"]["reference_value"], rows["vllm_ttft_cold"]
    table = [("no connector, cold", {"value": seconds, "ratio": 1, "goal": None})]
    table += [
        ("kvgate attached, cold", cold),
        ("from kvgate's memory, vLLM restarted", rows["vllm_ttft_memory"]),
        ("from kvgate's disk, both restarted", rows["vllm_ttft_disk"]),
        ("vLLM's own prefix cache", rows["vllm_ttft_own"]),
    ]
    lines = [
        f"`{cold['command']}` on {cold['machine']} (a 16-layer model in bf16):",
        "",
        f"| {prompt:,}-token prompt, concurrency 1 | time to first token | of cold | goal |",
        "|---|---|---|---|",
    ]
    for name, row in table:
        lines.append(
            _line([name, f"{row['value']:.3f} s", f"{row['ratio']:.3f}", row["goal"] or ""])
        )
    memory = rows["verified_hit_tokens_memory_in_phase_memory"]["value"]
    disk = rows["verified_hit_tokens_disk_in_phase_disk"]["value"]
    failed = rows["failed_requests"]["value"]
    lines += [
        "",
        f"{memory:,} hit tokens from memory and {disk:,} from disk, each load verified; {failed}",
        "failed requests, also with the gateway absent, killed in mid-run and SIGSTOPped.",
    ]
    return "\n".join([*lines, ""])


README_PARTS = {"vllm": _vllm}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        wrong = [path for path, text in pages(ROOT).items() if path.read_text() != text]
        for path in wrong:
            print(f"{path.relative_to(ROOT)} differs from {FOLDER}: ./dev bench report")
        return 1 if wrong else 0
    for name in update():
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
