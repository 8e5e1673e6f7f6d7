# SPDX-License-Identifier: Apache-2.0
"""What the vLLM demo found: judged, as a table, as rows of JSON, and as a plot."""

from __future__ import annotations

import platform
import random
import statistics
import subprocess
from pathlib import Path
from typing import Any

MIB = 1 << 20
TIERS = ("memory", "disk", "backend", "peer")
GOALS = {"memory": 0.05, "disk": 0.08}
STEADY = 0.05  # half of the 95 % interval, as a part of the median
FAULTS = ("SIGSTOP", "killed mid-run", "absent")
RSS_BASE_BYTES = 200 * MIB + 256 * MIB  # a daemon's own, and what gRPC may hold of requests
CONNECTIONS = 8


# The connector's settings in the demo, where they are not the defaults: it counts verified hits.
SETTINGS: dict[str, Any] = {"verify": "always"}


class Report:
    def __init__(self, results: dict[str, Any], transport: str) -> None:
        self._r = results
        self._transport = transport
        self._cold = [answer["ttft_s"] for answer in results["plain"]["cold"]]

    # ---- judgement -----------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """What must not be; empty when all is right."""
        faults = [*self._wrong_tokens(), *self._wrong_blocks(), *self._wrong_controls()]
        faults += self._nothing_loaded()
        if failed := self.failed_requests():
            faults.append(f"{failed} requests failed")
        return faults

    def _wrong_tokens(self) -> list[str]:
        """A prompt loaded whole must answer as vLLM's own hit of the same length does; one that was
        missed as vLLM answers cold."""
        faults = []
        for tier in ("memory", "disk"):
            asked = [self._r[tier]["openings"], *self._r[tier]["rounds"]]
            for number, answers in enumerate(asked):
                for document, answer in enumerate(answers):
                    whole = answer["loaded"] == _hit_tokens(answer)
                    like = "own" if whole else "cold"
                    right = self._r["plain"][like][document]
                    end = None if whole or not answer["loaded"] else right["decided"]
                    if answer["tokens"][:end] != right["tokens"][:end]:
                        faults.append(f"{tier}, round {number}, document {document}: wrong tokens")
        return faults

    def _nothing_loaded(self) -> list[str]:
        """A tier that answered nothing was not shown, however right the tokens are."""
        faults = []
        for tier in ("memory", "disk"):
            timed = sum(len(answers) for answers in self._r[tier]["rounds"])
            if not self.tokens_by_tier(tier)[tier]:
                faults.append(f"no token was loaded from {tier}")
            if self.misses(tier) * 2 > timed:
                faults.append(f"timed from {tier}: most prompts were not loaded whole")
        return faults

    def _own_differs(self) -> int:
        """Prompts of which vLLM's own hit leaves its cold answer before two tokens are near."""
        pairs = zip(self._r["plain"]["cold"], self._r["plain"]["own"], strict=True)
        ends = [(min(a["decided"], b["decided"]), a["tokens"], b["tokens"]) for a, b in pairs]
        return sum(a[:end] != b[:end] for end, a, b in ends)

    def misses(self, tier: str) -> int:
        answers = [answer for answers in self._r[tier]["rounds"] for answer in answers]
        return sum(answer["loaded"] < _hit_tokens(answer) for answer in answers)

    def _wrong_blocks(self) -> list[str]:
        cold = self._r["cold"]["digests"]
        return [
            f"{tier}: blocks of the layers differ from those computed cold"
            for tier in ("memory", "disk")
            if self._r[tier]["digests"] != cold
        ]

    def _wrong_controls(self) -> list[str]:
        faults = []
        colds = self._r["cold"]["cold"]
        if len({tuple(answer["tokens"]) for answer in colds}) < len(colds):
            faults.append("documents have equal answers: noise would prove nothing")
        controls = self._r["controls"]["each"]
        for name in FAULTS:
            cold = colds[controls[name]["document"]]
            if controls[name]["tokens"][: cold["decided"]] != cold["tokens"][: cold["decided"]]:
                faults.append(f"{name}: wrong tokens")
        corrupted, noise = controls["corrupted segment"], controls["noise"]
        if corrupted["tokens"] != self._r["plain"]["partial"]["tokens"]:
            faults.append("corrupted segment: wrong tokens")
        if not corrupted["flipped"] or not corrupted["load_failures"]:
            faults.append("corrupted segment: the flipped bit was not met")
        if noise["tokens"] == colds[noise["document"]]["tokens"] or not noise["loaded"]:
            faults.append("noise under the same keys changed no token: loads are not used")
        return faults

    def failed_requests(self) -> int:
        """Of every prompt of every phase."""
        return sum(phase["failed"] for phase in self._phases())

    def _phases(self) -> list[dict[str, Any]]:
        return [self._r[name] for name in ("plain", "cold", "memory", "disk", "controls")]

    # ---- figures -------------------------------------------------------------------------------

    def _pairs(self, name: str) -> list[tuple[float, float]]:
        """Time to first token beside the cold one of the same document, without the connector."""
        if name in ("memory", "disk"):
            rounds = self._r[name]["rounds"]
        else:
            rounds = [self._r["plain" if name == "own" else name][name]]
        return [
            (answer["ttft_s"], cold)
            for answers in rounds
            for answer, cold in zip(answers, self._cold, strict=True)
        ]

    def tokens_by_tier(self, phase: str) -> dict[str, int]:
        counts = self._r[phase]["workload"]
        return {tier: int(counts.get(f"loaded_tokens_{tier}", 0)) for tier in TIERS}

    def rows(self, command: str) -> list[dict[str, Any]]:
        longest = max(answer["prompt_tokens"] for answer in self._r["plain"]["cold"])
        rows = [_row("vllm_prompt", longest, "tokens", "", None, None)]
        rows += [
            self._time_row(f"vllm_ttft_{name}", self._pairs(name), GOALS.get(name))
            for name in ("cold", "memory", "disk", "own")
        ]
        rss = self._r["rss"]
        blocks = self._r["cold"]["counts"].get("saved_blocks", 0)
        limit = rss["extents"] + rss["staging"] + 64 * blocks + RSS_BASE_BYTES + CONNECTIONS * MIB
        rows.append(_row("kvgated_rss", rss["rss"], "bytes", "limit", limit, "<= 1"))
        saved = self._r["cold"]["counts"].get("saved_bytes", 0)
        disk = self._r["disk_bytes"]
        rows.append(_row("kvgated_disk", disk, "bytes", "bytes saved", saved, None))
        failed = _row("failed_requests", self.failed_requests(), "requests", "", None, "<= 0")
        failed["pass"] = failed["value"] == 0
        rows.append(failed)
        for phase in ("memory", "disk"):
            tokens = self.tokens_by_tier(phase)
            for tier in ("memory", "disk"):
                name = f"verified_hit_tokens_{tier}_in_phase_{phase}"
                rows.append(_row(name, tokens[tier], "tokens", "", None, None))
        common = {**_origin(), "machine": _machine(), "command": command}
        return [{**row, **common} for row in rows]

    def _time_row(
        self, name: str, pairs: list[tuple[float, float]], goal: float | None
    ) -> dict[str, Any]:
        value = statistics.median(value for value, _ in pairs)
        cold = statistics.median(self._cold)
        goal_text = f"<= {goal}" if goal else None
        row = _row(name, value, "s", "cold, no connector", cold, goal_text)
        ratios = [value / reference for value, reference in pairs]
        row["ratio"] = statistics.median(ratios)
        steady = "noisy" if not is_steady(ratios) else row["ratio"] <= (goal or 0)
        row["pass"] = steady if goal else None
        row["runs"] = pairs
        row["ci95"] = _half_width(ratios)
        return row

    # ---- for people ----------------------------------------------------------------------------

    def table(self) -> str:
        names = {
            "plain": "without connector, cold",
            "cold": "with kvgate, cold",
            "memory": "with kvgate, from memory",
            "disk": "with kvgate, from disk",
            "own": "vLLM's own prefix cache",
        }
        lines = [f"{'time to first token':28} {'median':>9} {'of cold':>8} {'goal':>7} {'n':>4}"]
        for name, text in names.items():
            pairs = [(t, t) for t in self._cold] if name == "plain" else self._pairs(name)
            ratio = statistics.median(value / cold for value, cold in pairs)
            goal = f"<={GOALS[name]}" if name in GOALS else ""
            median = statistics.median(value for value, _ in pairs)
            lines.append(f"{text:28} {median:7.3f} s {ratio:8.3f} {goal:>7} {len(pairs):4d}")
        return "\n".join([*lines, "", *self._facts()])

    def _facts(self) -> list[str]:
        lines = [f"transport {self._transport}; {_machine()}"]
        asked = [answer["prompt_tokens"] for answer in self._r["plain"]["cold"]]
        for phase in ("memory", "disk"):
            counts, tokens = self._r[phase]["workload"], self.tokens_by_tier(phase)
            by_tier = ", ".join(f"{tokens[tier]} from {tier}" for tier in TIERS if tokens[tier])
            lines.append(
                f"phase {phase}: {self._r[phase]['prompts']} prompts of about {max(asked)} tokens; "
                f"verified hit tokens: {by_tier or 'none'}; {_failures(counts)}"
            )
        for tier in ("memory", "disk"):
            timed = self._r[tier]["timed"]
            if missed := self.misses(tier):
                lines.append(f"timed from {tier}: {missed} prompts not loaded whole")
            lines.append(f"timed from {tier}: {_failures(timed)}; {_load_times(timed)}")
        if differing := self._own_differs():
            lines.append(
                f"{differing} of {len(self._cold)} documents: vLLM's own hit answers otherwise "
                "than vLLM cold, whose chunks differ"
            )
        saved = self._r["cold"]["counts"]
        lines.append(
            f"saved {int(saved.get('saved_blocks', 0))} blocks, "
            f"{saved.get('saved_bytes', 0) / MIB:.0f} MiB; on disk "
            f"{self._r['disk_bytes'] / MIB:.0f} MiB"
        )
        rss = self._r["rss"]
        lines.append(
            f"RSS of kvgated {rss['rss'] / MIB:.0f} MiB; by its own account it touched "
            f"{rss['extents'] / MIB:.0f} MiB of extents, and {RSS_BASE_BYTES / MIB:.0f} MiB are "
            "allowed beside them"
        )
        for name, control in self._r["controls"]["each"].items():
            lines.append(f"control {name}: {self._control(name, control)}")
        asked = sum(phase["asked"] for phase in self._phases())
        lines.append(f"failed requests: {self.failed_requests()} of {asked}")
        lines.append(f"not the defaults: {self._r['settings']}")
        return lines

    def _control(self, name: str, control: dict[str, Any]) -> str:
        partial = name == "corrupted segment"
        cold = self._r["cold"]["cold"][control["document"]]
        right, like = (
            (self._r["plain"]["partial"], "a hit of that length") if partial else (cold, "cold")
        )
        same = control["tokens"] == right["tokens"]
        tokens = f"tokens as {like}" if same else f"other tokens than {like}"
        seconds = f"{control['ttft_s']:.2f} s to the first token"
        text = f"{tokens}, {int(control['loaded'])} tokens loaded, {seconds}"
        if partial:
            text += f", {control['flipped']} bit flipped"
        return text

    def plot(self, path: Path) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
        series = {"no connector,\ncold": self._cold}
        for name, label in (
            ("cold", "kvgate,\ncold"),
            ("disk", "kvgate,\ndisk"),
            ("memory", "kvgate,\nmemory"),
            ("own", "vLLM's own\nprefix cache"),
        ):
            series[label] = [value for value, _ in self._pairs(name)]
        medians = [statistics.median(values) for values in series.values()]
        left.bar(list(series), medians, color=["0.6", "0.6", "tab:orange", "tab:blue", "0.8"])
        for place, values in enumerate(series.values()):
            left.plot([place] * len(values), values, "k.", markersize=3)
        left.set_yscale("log")
        left.set_ylabel("seconds to the first token, about 4,000 tokens")
        left.tick_params(axis="x", labelsize=8)
        bottoms = [0, 0]
        for tier, color in (("memory", "tab:blue"), ("disk", "tab:orange")):
            heights = [self.tokens_by_tier(phase)[tier] for phase in ("memory", "disk")]
            right.bar(
                ["vLLM restarted", "both restarted"], heights, bottom=bottoms, color=color,
                label=f"from {tier}",
            )  # fmt: skip
            bottoms = [a + b for a, b in zip(bottoms, heights, strict=True)]
        right.set_ylabel("prompt tokens loaded and verified")
        right.legend()
        figure.suptitle(f"vLLM with its KV-cache in kvgated ({self._transport})")
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)


def _failures(counts: dict[str, float]) -> str:
    """Of loads and look-ups; those that missed their deadline are a matter of the machine."""
    number = {name: int(value) for name, value in counts.items()}
    return (
        f"{number.get('load_failures', 0)} failed loads, "
        f"{number.get('load_miss_deadline', 0)} of them past their deadline; "
        f"{number.get('lookup_failures', 0)} failed look-ups, "
        f"{number.get('advised_recompute', 0)} times computing was quicker"
    )


def _load_times(counts: dict[str, float]) -> str:
    loads = counts.get("loads", 0)
    if not loads:
        return "no load"
    took, forecast = (counts.get(name, 0) / loads for name in ("load_ms_sum", "forecast_ms_sum"))
    return f"a load took {took:.0f} ms, its forecast was {forecast:.0f} ms"


def _hit_tokens(answer: dict[str, Any]) -> int:
    """The whole blocks of 32 tokens before the last token."""
    return int((answer["prompt_tokens"] - 1) // 32 * 32)


def _row(
    name: str,
    value: float,
    unit: str,
    reference_name: str,
    reference: float | None,
    goal: str | None,
) -> dict[str, Any]:
    ratio = value / reference if reference else None
    passed = None
    if goal is not None and ratio is not None:
        passed = ratio <= float(goal.removeprefix("<=").strip())
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference_name": reference_name,
        "reference_value": reference,
        "ratio": ratio,
        "goal": goal,
        "pass": passed,
        "runs": [],
        "ci95": None,
    }


def _half_width(ratios: list[float]) -> float:
    """Half of the 95 % interval of the median, by resampling."""
    chooser = random.Random(0)
    medians = sorted(statistics.median(chooser.choices(ratios, k=len(ratios))) for _ in range(1000))
    return (medians[974] - medians[25]) / 2


def is_steady(ratios: list[float]) -> bool:
    return _half_width(ratios) <= STEADY * statistics.median(ratios)


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    return done.stdout.strip()


def _origin() -> dict[str, Any]:
    commit = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "-uno"))}


def _machine() -> str:
    import os

    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} x {model}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')}"
