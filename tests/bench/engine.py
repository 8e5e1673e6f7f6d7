# SPDX-License-Identifier: Apache-2.0
"""`./dev bench engine [--full] [--dir DIR] [--json FILE]`: the store's I/O and CPU beside fio.

The store runs without doors (engine.cc) in DIR, fio on a file beside it; both were written more
than once over before anything is timed. Pairs alternate, ABBA. --full: 15 pairs of 5 s a figure, up
to 60 while the 95 % interval is wider than 5 % to a side; without it 3 pairs of 2 s, which prove
nothing. For the record, on a quiet machine at a commit:
`./dev bench engine --full --json docs/benchmarks/engine.json`. DIR needs 8 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

MIB = 1 << 20
GIB = 1 << 30
MEMORY_BYTES = 256 * MIB
DISK_BYTES = 3 * GIB
FIO_BYTES = 2 * GIB
READ_BYTES = 3 * GIB // 2  # read in turn: far more than memory, and all of it still on disk
WRITE_DEPTH = 16
STEADY = 0.05
POSIX_THREADS = 8

Answer = dict[str, Any]
Pair = tuple[float, float]


class Engine:
    """engine.cc as a process: one command, one answer."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: Any) -> Answer:
        assert self._process.stdin and self._process.stdout
        print(*words, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer: Answer = json.loads(line) if line else {"error": "the engine ended"}
        if "error" in answer:
            raise RuntimeError(f"{' '.join(map(str, words))}: {answer['error']}")
        return answer

    def end(self) -> None:
        self._process.communicate(timeout=60)


class Bench:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._pairs_min = 15 if args.full else 3
        self._pairs_max = 60 if args.full else 3
        self._seconds = 5 if args.full else 2
        self._store, self._file = folder / "store", folder / "fio"
        self._store.mkdir()
        self.engine = Engine(os.environ["KVGATE_BIN_DIR"] + "/tests/bench/engine")
        self.rows: list[Answer] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        self._fio("write", MIB, 8, "io_uring", loops=2)
        self._open("auto", 0)
        for block, depth, bound in ((MIB, 8, 0.92), (4 * MIB, 4, 0.92), (64 << 10, 32, 0.90)):
            # Twice the log: the second lap has begun everywhere.
            self._fill(block, 2 * DISK_BYTES + GIB)
            self._reads(block, depth, bound)
        self._fill(MIB, DISK_BYTES + GIB)
        self._writes()
        self._mixed()
        self.engine.ask("close")
        self._without_checksum()
        self._posix()

    # ---- figures ---------------------------------------------------------------------------------

    def _reads(self, block: int, depth: int, bound: float) -> None:
        cpu: list[float] = []

        def ours() -> float:
            answer = self._read(block, depth)
            cpu.append(answer["cpu_s_per_gib"])
            return float(answer["bytes_per_s"])

        name = f"engine_read_{_size(block)}_depth_{depth}"
        pairs = self._alternate(ours, lambda: self._fio("randread", block, depth, "io_uring"))
        row = self._ratio_row(name, pairs, "bytes/s", "fio io_uring", bound)
        reads = row["value"] / block
        if block < MIB:
            row["goal"] = f">= {bound} or 25,000 reads/s"
            row["pass"] = True if reads >= 25_000 else row["pass"]
            self._plain_row(f"{name}_rate", reads, "reads/s", None)
        self._plain_row(
            f"{name}_cpu", statistics.median(cpu), "core-s/GiB", 0.10 if block >= MIB else None
        )

    def _read(self, block: int, depth: int) -> Answer:
        answer = self.engine.ask("read", block, depth, self._seconds, READ_BYTES)
        if answer["missed"]:
            self.wrong.append(
                f"{answer['missed']} reads of {_size(block)} missed: GetState {answer['last_miss']}"
            )
        return answer

    def _writes(self) -> None:
        cpu: list[float] = []

        def ours() -> float:
            answer = self.engine.ask("write", MIB, WRITE_DEPTH, self._seconds)
            cpu.append(answer["cpu_s_per_gib"])
            self._all_logged("write", answer)
            return float(answer["device_bytes_per_s"])

        pairs = self._alternate(ours, lambda: self._fio("write", MIB, 8, "io_uring"))
        self._ratio_row("engine_write_1MiB_device", pairs, "bytes/s", "fio io_uring", 0.90)
        self._plain_row("engine_write_1MiB_cpu", statistics.median(cpu), "core-s/GiB", 0.10)

    def _mixed(self) -> None:
        """Reads and writes at once, each beside itself alone."""

        def mixed() -> Answer:
            skip = MEMORY_BYTES * 2
            answer = self.engine.ask("mixed", MIB, 8, self._seconds, GIB, skip)
            self._all_logged("mixed", answer["write"])
            return answer

        def solo() -> Pair:
            read = self._read(MIB, 8)["bytes_per_s"]
            answer = self.engine.ask("write", MIB, WRITE_DEPTH, self._seconds)
            self._all_logged("write alone", answer)
            return read, answer["bytes_per_s"]

        reads: list[Pair] = []
        writes: list[Pair] = []
        for number in range(self._pairs_min):
            both, single = (mixed(), solo()) if number % 2 == 0 else (solo(), mixed())[::-1]
            reads.append((both["read"]["bytes_per_s"], single[0]))
            writes.append((both["write"]["bytes_per_s"], single[1]))
        self._ratio_row("engine_mixed_read", reads, "bytes/s", "alone", 0.60)
        self._ratio_row("engine_mixed_write", writes, "bytes/s", "alone", 0.15)

    def _without_checksum(self) -> None:
        """The disk's own way into registered memory, on fio's file."""
        cpu: list[float] = []

        def ours() -> float:
            answer = self.engine.ask("raw", self._file, FIO_BYTES, "auto", 0, 8, MIB, self._seconds)
            cpu.append(answer["cpu_s_per_gib"])
            return float(answer["bytes_per_s"])

        pairs = self._alternate(ours, lambda: self._fio("randread", MIB, 8, "io_uring"))
        self._ratio_row("engine_disk_1MiB_depth_8", pairs, "bytes/s", "fio io_uring", None)
        self._plain_row("engine_disk_1MiB_cpu", statistics.median(cpu), "core-s/GiB", 0.04)

    def _posix(self) -> None:
        """The fallback: the same blocks by threads that call pread, as many as fio has."""
        self._open("posix", POSIX_THREADS)
        pairs = self._alternate(
            lambda: float(self._read(MIB, POSIX_THREADS)["bytes_per_s"]),
            lambda: self._fio("randread", MIB, 1, "psync", jobs=POSIX_THREADS),
        )
        self._ratio_row(
            "engine_posix_read_1MiB", pairs, "bytes/s", f"fio psync, {POSIX_THREADS} threads", 0.85
        )
        self.engine.ask("close")

    # ---- means -----------------------------------------------------------------------------------

    def _open(self, engine: str, threads: int) -> None:
        facts = self.engine.ask("open", self._store, MEMORY_BYTES, DISK_BYTES, engine, threads)
        print(f"store: {facts['engine']}, {facts['mode']}", file=sys.stderr)

    def _fill(self, block: int, size: int) -> None:
        self._all_logged("fill", self.engine.ask("fill", block, size))

    def _all_logged(self, what: str, answer: Answer) -> None:
        """A block that the log refused is in memory only, and a later read misses it."""
        if answer["not_logged"]:
            self.wrong.append(f"{what}: {answer['not_logged']} blocks did not reach the log")

    def _fio(
        self, verb: str, block: int, depth: int, engine: str, jobs: int = 1, loops: int = 0
    ) -> float:
        """bytes/s of one job; with `loops`, so many times over the file."""
        span = (f"--loops={loops}",) if loops else ("--time_based", f"--runtime={self._seconds}")
        command = [
            *("fio", "--name=x", f"--filename={self._file}", f"--size={FIO_BYTES}", "--direct=1"),
            *(f"--rw={verb}", f"--bs={block}", f"--iodepth={depth}", f"--ioengine={engine}"),
            *(f"--numjobs={jobs}", "--thread", "--group_reporting", "--randrepeat=0"),
            *("--output-format=json", *span),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        job = json.loads(done.stdout)["jobs"][0]
        return float(job["write" if verb == "write" else "read"]["bw_bytes"])

    def _alternate(self, ours: Callable[[], float], other: Callable[[], float]) -> list[Pair]:
        pairs: list[Pair] = []
        wanted = self._pairs_min
        while True:
            while len(pairs) < wanted:
                if len(pairs) % 2 == 0:
                    mine = ours()
                    pairs.append((mine, other()))
                else:
                    theirs = other()
                    pairs.append((ours(), theirs))
            if half_width(pairs) <= STEADY or wanted * 2 > self._pairs_max:
                return pairs
            wanted *= 2

    def _ratio_row(
        self, name: str, pairs: list[Pair], unit: str, reference: str, bound: float | None
    ) -> Answer:
        ratio = statistics.median(a / b for a, b in pairs)
        width = half_width(pairs)
        verdict: bool | str | None = None
        if bound is not None:
            verdict = "noisy" if width > STEADY else ratio >= bound
        return self._row(
            name=name,
            value=statistics.median(a for a, _ in pairs),
            unit=unit,
            reference_name=reference,
            reference_value=statistics.median(b for _, b in pairs),
            ratio=ratio,
            goal=f">= {bound}" if bound is not None else None,
            runs=pairs,
            ci95=width,
            **{"pass": verdict},
        )

    def _plain_row(self, name: str, value: float, unit: str, most: float | None) -> Answer:
        goal, verdict = (None, None) if most is None else (f"<= {most}", value <= most)
        return self._row(name=name, value=value, unit=unit, goal=goal, **{"pass": verdict})

    def _row(self, **fields: Any) -> Answer:
        empty: Answer = {
            "reference_name": "",
            "reference_value": None,
            "ratio": None,
            "goal": None,
            "pass": None,
            "runs": [],
            "ci95": None,
        }
        row = {**empty, **fields}
        self.rows.append(row)
        print(f"  {row['name']}: {row['value']:.4g} {row['unit']}", file=sys.stderr)
        return row


def half_width(pairs: list[Pair]) -> float:
    """Of the median ratio's 95 % interval, by bootstrap."""
    ratios = [a / b for a, b in pairs]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return (medians[1949] - medians[50]) / 2 / statistics.median(ratios)


def _size(block: int) -> str:
    return f"{block // MIB}MiB" if block >= MIB else f"{block >> 10}KiB"


def origin() -> Answer:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=report.ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().split("\n")
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "-uno")),
        "machine": f"{os.cpu_count()} x {cpu}",
        "command": " ".join(["./dev bench engine", *sys.argv[1:]]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="enough pairs to be judged")
    parser.add_argument("--dir", type=Path, help="where the files lie; a temporary folder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kvgate-bench-", dir=args.dir))
    try:
        bench = Bench(args, folder)
        bench.run()
        bench.engine.end()
    finally:
        shutil.rmtree(folder)
    common = origin()
    rows = [{**row, **common} for row in bench.rows]
    print(report.table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
        if args.json.resolve().parent == report.ROOT / report.FOLDER:
            for name in report.update():
                print(f"wrote {name}")
    for text in bench.wrong:
        print(f"WRONG: {text}")
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
