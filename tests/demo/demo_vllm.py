# SPDX-License-Identifier: Apache-2.0
"""The full demo: a real vLLM keeps its KV-cache in kvgated and finds it after both restart.

Five phases, each a fresh vLLM process: without the connector; cold with it; from memory; from disk
(kvgated restarted before each round); and controls. Prints a table, writes a plot (PNG) and, if
asked, JSON. Exit status 0 when every token was right and no request failed, whatever the times.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import vllm_report
from process import Kvgated

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_TARGET_DEVICE": "cpu",
}


def arguments(rounds_max: int = 0) -> argparse.Namespace:
    """`rounds_max`: more rounds are made while the figures are not steady, up to so many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=5, help="at least 5")
    parser.add_argument("--rounds", type=int, default=3, help="of timed prompts, memory and disk")
    parser.add_argument("--memory", default="1GiB", help="of kvgated")
    parser.add_argument("--disk", default="2GiB")
    parser.add_argument("--transport", choices=["local", "grpc"], default="local")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--png", type=Path, default=Path("out/demo_vllm.png"))
    parser.set_defaults(rounds_max=rounds_max)
    return parser.parse_args()


def make_model(folder: Path) -> str:
    import models
    from vllm_text import corpus

    print("model: 16 layers, hidden 1024, 4 KV heads of 64, bf16, random weights", flush=True)
    models.make_model(folder, "demo", [corpus()])
    return str(folder)


def make_conversations(model: str, count: int) -> list[dict[str, Any]]:
    """Once, for all phases: the sources that the text is taken from may change meanwhile."""
    from transformers import AutoTokenizer
    from vllm_text import conversations

    tokenizer = AutoTokenizer.from_pretrained(model)
    return [dataclasses.asdict(made) for made in conversations(tokenizer, count)]


def run_phase(name: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    print(f"phase {name}: a fresh vLLM", flush=True)
    job_file, out = folder / f"{name}.job.json", folder / f"{name}.json"
    job_file.write_text(json.dumps(job))
    log = folder / f"{name}.log"
    command = [sys.executable, str(HERE / "vllm_phases.py"), name, str(job_file), str(out)]
    with log.open("wb") as stream:
        status = subprocess.run(command, stdout=stream, stderr=stream, timeout=1200).returncode
    if status or not out.exists():
        text = log.read_text(errors="replace")
        raise RuntimeError(f"phase {name} ended with status {status}:\n{text[-4000:]}")
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def memory_of(daemon: Kvgated) -> dict[str, int]:
    """RSS of the daemon, and what it says of its own extents and staging, in bytes."""
    port = (daemon.data_dir / "run" / "metrics.port").read_text().strip()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    own = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    touched = float(own["kvgate_memory_extents_touched"]) * float(own["kvgate_memory_extent_bytes"])
    return {
        "rss": daemon.rss_bytes(),
        "extents": int(touched),
        "staging": int(float(own["kvgate_local_staging_bytes"])),
    }


def disk_bytes(folder: Path) -> int:
    return sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    data = folder / "d"
    data.mkdir()
    flags = [f"--memory={args.memory}", f"--disk={args.disk}", "--metrics=127.0.0.1:0"]
    daemon = Kvgated(data, *flags)
    model = make_model(folder / "model")
    job: dict[str, Any] = {
        "model": model,
        "data_dir": str(data),
        "flags": flags,
        "transport": args.transport,
        "conversations": make_conversations(model, max(5, args.documents)),
        "rounds": args.rounds,
        "rounds_max": args.rounds_max,
    }
    results: dict[str, Any] = {"settings": vllm_report.SETTINGS}
    results["plain"] = run_phase("plain", job, folder)
    job["cold_s"] = [answer["ttft_s"] for answer in results["plain"]["cold"]]
    try:
        daemon.start()
        results["cold"] = run_phase("cold", job, folder)
        job["second_turns"] = results["cold"]["second_turns"]
        results["memory"] = run_phase("memory", job, folder)
        results["rss"] = memory_of(daemon)
        daemon.stop()
        results["disk_bytes"] = disk_bytes(data)
        results["disk"] = run_phase("disk", job, folder)
        results["controls"] = run_phase("controls", job, folder)
    finally:
        daemon.kill()
    return results


def run_and_report(args: argparse.Namespace, command: str) -> int:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory(prefix="kvg.") as temporary:
        results = run(args, Path(temporary))
    report = vllm_report.Report(results, args.transport)
    print()
    print(report.table())
    report.plot(args.png)
    print(f"\nplot: {args.png}")
    if args.json:
        args.json.write_text(json.dumps(report.rows(command), indent=1) + "\n")
    wrong = report.wrong()
    for line in wrong:
        print(f"FAILED: {line}")
    if not wrong:
        print("every token was right, every loaded byte verified, no request failed")
    return 1 if wrong else 0


def main() -> int:
    return run_and_report(arguments(), " ".join(["./dev demo vllm", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
