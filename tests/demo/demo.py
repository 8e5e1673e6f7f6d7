# SPDX-License-Identifier: Apache-2.0
"""The quick demo: a real request trace through a real kvgated that is killed and comes back.

Blocks of 2 MiB go through the real client over shared memory into a memory tier of 1 GiB over a log
on disk; then SIGKILL, restart, and the last requests once more: what was logged is found again.
Every byte of every hit is compared. Prints a table; writes a plot (PNG) and, if asked, JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from process import Kvgated

HERE = Path(__file__).parent
TRACE = HERE / "data" / "conversation_slice.jsonl"
GIB = 1 << 30


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="of the trace before the kill")
    parser.add_argument("--again", type=int, default=100, help="of these, played after the restart")
    parser.add_argument("--new", type=int, default=60, help="new ones, played after the restart")
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--disk", default="", help="default: 20GiB, or what is free")
    parser.add_argument("--transport", choices=["local", "grpc"], default="local")
    parser.add_argument("--data-dir", type=Path, help="default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--png", type=Path, default=Path("out/demo.png"))
    return parser.parse_args()


def infinite_hits(first: int, count: int, seen: set[int]) -> tuple[int, int]:
    """Blocks that a cache which never forgets would hit, and all blocks; adds them to `seen`."""
    hits = refs = 0
    for line in TRACE.read_text().splitlines()[first : first + count]:
        blocks = json.loads(line)["hash_ids"]
        refs += len(blocks)
        for block in blocks:
            if block not in seen:
                break
            hits += 1
        seen.update(blocks)
    return hits, refs


def replay(daemon: Kvgated, transport: str, first: int, count: int, folder: Path) -> dict[str, Any]:
    out = folder / f"replay_{first}.json"
    command = [os.environ["KVGATE_REPLAY"], f"--trace={TRACE}", f"--first={first}"]
    command += [f"--count={count}", f"--transport={transport}", f"--json={out}"]
    command += [f"--local-socket={daemon.local_socket}", f"--grpc-target={daemon.grpc_target}"]
    if "KVGATE_GRPC_LIB" in os.environ:
        command.append(f"--grpc-library={os.environ['KVGATE_GRPC_LIB']}")
    subprocess.run(command, check=True)
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def row(name: str, result: dict[str, Any], best: int) -> list[str]:
    refs = result["block_refs"]
    moved = result["loaded_bytes"] + result["stored_bytes"]
    hits = result["hits_memory"] + result["hits_disk"]
    return [
        name,
        str(result["requests"]),
        str(refs),
        f"{result['hits_memory']}",
        f"{result['hits_disk']}",
        f"{100 * hits / refs:.1f} %",
        f"{100 * best / refs:.1f} %",
        f"{result['stored']}",
        f"{moved / GIB / result['seconds']:.2f}",
        str(result["wrong_bytes"]),
        str(result["failed_calls"]),
    ]


def print_table(rows: list[list[str]]) -> None:
    head = ["phase", "requests", "blocks", "memory hits", "disk hits", "hit rate"]
    head += ["never forgetting", "stored", "GiB/s", "wrong bytes", "failed calls"]
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        print(" | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def plot(phases: list[dict[str, Any]], kill_s: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4))
    offset = 0.0
    for index, phase in enumerate(phases):
        times, loads, stores = [], [], []
        last = {"seconds": 0.0, "loaded_bytes": 0, "stored_bytes": 0}
        for point in phase["timeline"]:
            span = point["seconds"] - last["seconds"]
            if span < 0.45:
                continue
            times.append(offset + point["seconds"])
            loads.append((point["loaded_bytes"] - last["loaded_bytes"]) / GIB / span)
            stores.append((point["stored_bytes"] - last["stored_bytes"]) / GIB / span)
            last = point
        axes.plot(times, loads, color="tab:blue", label="loaded" if index == 0 else None)
        axes.plot(times, stores, color="tab:orange", label="stored" if index == 0 else None)
        offset += phase["seconds"] + (kill_s if index == 0 else 0)
        if index == 0:
            axes.axvline(phase["seconds"], color="tab:red", linestyle="--", label="kill -9")
    axes.set_xlabel("seconds")
    axes.set_ylabel("GiB/s, every byte compared")
    axes.set_title("Conversation trace, 2 MiB blocks, memory over disk")
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def disk_size(args: argparse.Namespace, folder: Path) -> str:
    if args.disk:
        return str(args.disk)
    free = shutil.disk_usage(folder).free
    return f"{max(1, min(20, int(free * 0.6 / GIB)))}GiB"


def main() -> int:
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="kvgate.demo.") as temporary:
        folder = Path(temporary)
        data = args.data_dir or folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        disk = disk_size(args, folder)
        daemon = Kvgated(data, f"--memory={args.memory}", f"--disk={disk}", "--metrics=off")
        print(f"kvgated: memory {args.memory}, disk {disk}, transport {args.transport}", flush=True)
        try:
            daemon.start()
            first = replay(daemon, args.transport, 0, args.requests, folder)
            rss = daemon.rss_bytes()
            print("SIGKILL, restart", flush=True)
            daemon.kill()
            restart_s = daemon.start()
            begin = args.requests - args.again
            second = replay(daemon, args.transport, begin, args.again + args.new, folder)
        finally:
            daemon.kill()
    seen: set[int] = set()
    best_first, _ = infinite_hits(0, args.requests, seen)
    best_second, _ = infinite_hits(begin, args.again + args.new, seen)
    rows = [row("cold", first, best_first), row("after kill -9", second, best_second)]
    print()
    print_table(rows)
    print(f"\nready again {restart_s:.2f} s after SIGKILL; RSS before it {rss / GIB:.2f} GiB")
    plot([first, second], restart_s, args.png)
    print(f"plot: {args.png}")
    results = {"cold": first, "after_kill": second, "restart_seconds": restart_s, "rss_bytes": rss}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    good = first["wrong_bytes"] == second["wrong_bytes"] == 0 and second["hits_disk"] > 0
    print("every byte of every hit was right" if good else "FAILED: see the table")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
