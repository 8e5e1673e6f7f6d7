# SPDX-License-Identifier: Apache-2.0
"""One phase of the vLLM demo in a process of its own: python vllm_phases.py PHASE JOB.json OUT.json

Phases: plain (no connector: cold, and vLLM's own prefix cache), cold (first with the gateway),
memory, disk (the daemon restarted before each round), controls (noise, corruption, faults).
Every phase is a fresh engine. JOB.json: model, data_dir, flags, transport, conversations, rounds,
rounds_max, and of earlier phases cold_s and second_turns.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from engine import Engine, grown, loaded_tokens, transfer_config, wait_stopped
from process import Kvgated
from vllm_report import SETTINGS, is_steady
from vllm_text import Conversation

ANSWER_TOKENS = 16
CORRUPTED_DOCUMENT, CORRUPTED_BLOCK = 3, 5
GAP_MIN = 0.05  # two tokens nearer than this may swap when chunks differ


class Phase:
    def __init__(self, job: dict[str, Any], with_gateway: bool) -> None:
        self.job = job
        self.with_gateway = with_gateway
        self.daemon = Kvgated(Path(job["data_dir"]), *job["flags"])
        transfer = transfer_config(self._extra(), patient=False) if with_gateway else None
        self.engine = Engine(
            job["model"], transfer, max_model_len=8192, max_num_batched_tokens=2048
        )
        self.conversations = [Conversation(**fields) for fields in job["conversations"]]
        self.asked = self.failed = 0

    def _extra(self) -> dict[str, Any]:
        """Where the daemon is, and what differs from the defaults: the report names it."""
        return {
            "transport": self.job["transport"],
            "local_socket": self.daemon.local_socket,
            "grpc_target": self.daemon.grpc_target,
            "grpc_library": os.environ.get("KVGATE_GRPC_LIB", ""),
            **SETTINGS,
        }

    def ask(self, ids: list[int]) -> dict[str, Any]:
        """One request alone: time to first token, tokens, and the first place where the two best
        tokens are so near that rounding may decide."""
        from vllm import SamplingParams

        sampling = SamplingParams(
            temperature=0, max_tokens=ANSWER_TOKENS, ignore_eos=True, logprobs=2
        )
        core = self.engine.llm.llm_engine
        before = self.counts()
        start, first = time.monotonic(), 0.0
        core.add_request("r", {"prompt_token_ids": ids}, sampling)
        output: Any = None
        while core.has_unfinished_requests():
            for output in core.step():
                if not first and output.outputs[0].token_ids:
                    first = time.monotonic() - start
        answer = output.outputs[0]
        self.asked += 1
        self.failed += answer.finish_reason != "length"
        return {
            "ttft_s": first,
            "tokens": list(answer.token_ids),
            "decided": _decided(answer.logprobs),
            "prompt_tokens": len(ids),
            "loaded": loaded_tokens(before, self.counts()),
        }

    def requests(self) -> dict[str, int]:
        """Of the whole phase, every prompt counted."""
        return {"asked": self.asked, "failed": self.failed}

    def counts(self) -> dict[str, float]:
        return self.engine.counts() if self.with_gateway else {}

    def fresh(self) -> None:
        """The engine's own prefix cache is empty, and what it computed is at the gateway."""
        if self.with_gateway:
            self.engine.settle()
        assert self.engine.llm.reset_prefix_cache()

    def wait_for_daemon(self) -> None:
        """Until both sides have opened their namespace at the daemon's new run."""
        for side in (self.engine.scheduler, self.engine.worker):
            gateway = side._gateway
            for _ in range(300):
                if gateway.client.lookup(gateway.ns, [b"?"], timeout_ms=200).code == 0:
                    break
                time.sleep(0.02)
            else:
                raise RuntimeError("the connector does not find the daemon again")

    def keys(self, ids: list[int]) -> list[bytes]:
        from vllm import SamplingParams
        from vllm.v1.request import Request

        hasher = self.engine.core.request_block_hasher
        request = Request("k", ids, SamplingParams(max_tokens=1), None, block_hasher=hasher)
        return [bytes(key) for key in request.block_hashes]

    def block_digests(self, ids: list[int]) -> list[str]:
        """SHA-256 of each block's bytes in the engine's own tensors, by tensor indexing."""
        import torch

        pool = self.engine.vllm_scheduler.kv_cache_manager.block_pool
        layout = self.engine.worker.loader._layout
        digests = []
        for key in self.keys(ids)[: (len(ids) - 1) // 32]:
            (block,) = pool.get_cached_block(key, [0]) or (None,)
            digest = hashlib.sha256()
            for layer in range(layout.layers if block else 0):
                page = layout.tensor(layer)[block.block_id].contiguous()
                digest.update(page.view(torch.uint8).numpy().tobytes())
            digests.append(digest.hexdigest() if block else "not cached")
        return digests


def _decided(logprobs: Any) -> int:
    """The number of tokens before the first one whose lead is under GAP_MIN."""
    for index, best in enumerate(logprobs):
        two = sorted((entry.logprob for entry in best.values()), reverse=True)[:2]
        if len(two) == 2 and two[0] - two[1] < GAP_MIN:
            return index
    return len(logprobs)


# ---- phases -----------------------------------------------------------------------------------


def plain(job: dict[str, Any]) -> dict[str, Any]:
    phase = Phase(job, with_gateway=False)
    phase.ask(phase.conversations[0].opening[:600])  # kernels are warm afterwards
    cold, own = [], []
    for conversation in phase.conversations:
        phase.fresh()
        cold.append(phase.ask(conversation.opening))
        own.append(phase.ask(conversation.opening))
    # What a load that ends before CORRUPTED_BLOCK leaves: vLLM's own hit of the same length.
    phase.fresh()
    ids, cut = phase.conversations[CORRUPTED_DOCUMENT].opening, CORRUPTED_BLOCK * 32
    phase.ask(ids[:cut] + ids[cut:][::-1])
    partial = phase.ask(ids)
    return {"cold": cold, "own": own, "partial": partial, **phase.requests()}


def cold(job: dict[str, Any]) -> dict[str, Any]:
    phase = Phase(job, with_gateway=True)
    phase.ask(phase.conversations[0].other[:600][::-1])
    openings, digests, turns = [], [], []
    for conversation in phase.conversations:
        opening = phase.ask(conversation.opening)
        openings.append(opening)
        digests.append(phase.block_digests(conversation.opening))
        phase.ask(conversation.other)
        second = conversation.opening + opening["tokens"] + conversation.follow_up
        phase.ask(second)
        turns.append(second)
    phase.fresh()
    counts = phase.engine.counts()
    phase.engine.close()
    return {
        "cold": openings,
        "digests": digests,
        "second_turns": turns,
        "counts": counts,
        **phase.requests(),
    }


def warm(job: dict[str, Any], restart_daemon: bool) -> dict[str, Any]:
    """All prompts once (their hits are counted), then rounds of the openings (their times)."""
    phase = Phase(job, with_gateway=True)
    if restart_daemon:
        phase.daemon.start()
        phase.wait_for_daemon()
    result: dict[str, Any] = {"openings": [], "rounds": [], "digests": []}
    before = phase.engine.counts()
    prompts = 0
    for conversation, second in zip(phase.conversations, job["second_turns"], strict=True):
        phase.fresh()
        for ids in (conversation.opening, conversation.other, second):
            prompts += 1
            answer = phase.ask(ids)
            if ids is conversation.opening:
                result["openings"].append(answer)
        result["digests"].append(phase.block_digests(conversation.opening))
    result["workload"] = _difference(before, phase.engine.counts())
    result["prompts"] = prompts
    before = phase.engine.counts()
    while _more_rounds(job, result["rounds"]):
        if restart_daemon:
            phase.engine.settle()
            phase.daemon.stop()
            phase.daemon.start()
            phase.wait_for_daemon()
        answers = []
        for conversation in phase.conversations:
            phase.fresh()
            answers.append(phase.ask(conversation.opening))
        result["rounds"].append(answers)
    result["timed"] = _difference(before, phase.engine.counts())
    phase.engine.close()
    if restart_daemon:
        phase.daemon.stop()
    return {**result, **phase.requests()}


def _more_rounds(job: dict[str, Any], rounds: list[list[dict[str, Any]]]) -> bool:
    """Those asked for; then as many again while the medians are not steady, up to rounds_max."""
    done, asked = len(rounds), job["rounds"]
    if done < asked or done >= job["rounds_max"]:
        return done < asked
    doubled = done % asked == 0 and (done // asked).bit_count() == 1  # asked, 2, 4 … times asked
    if not doubled:
        return True
    times = [[answer["ttft_s"] for answer in answers] for answers in rounds]
    return not is_steady([s / c for r in times for s, c in zip(r, job["cold_s"], strict=True)])


def _difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items()}


# ---- controls ---------------------------------------------------------------------------------


def controls(job: dict[str, Any]) -> dict[str, Any]:
    phase = Phase(job, with_gateway=True)
    daemon = phase.daemon
    daemon.start()
    phase.wait_for_daemon()
    phase.ask(phase.conversations[0].other[:600][::-1])  # a process's first request is its slowest

    def freeze() -> None:
        daemon.signal(signal.SIGSTOP)
        wait_stopped(daemon.pid)

    result = {"SIGSTOP": _fault(phase, 0, before=freeze)}
    daemon.signal(signal.SIGCONT)
    phase.wait_for_daemon()
    result["killed mid-run"] = _fault(phase, 1, during=daemon.kill)
    result["absent"] = _fault(phase, 2)
    phase.engine.settle()
    daemon.start()
    phase.wait_for_daemon()
    result["corrupted segment"] = _corruption(phase, phase.conversations[CORRUPTED_DOCUMENT])
    result["noise"] = _noise(phase, phase.conversations[4])
    phase.engine.close()
    daemon.kill()
    return {"each": result, **phase.requests()}


def _fault(phase: Phase, number: int, before: Any = None, during: Any = None) -> dict[str, Any]:
    """An opening asked while the daemon is away, or goes away within the first step."""
    phase.fresh()
    if before:
        before()
    core = phase.engine.core
    step = core.step_fn

    def step_once() -> Any:
        core.step_fn = step
        output = step()
        during()
        return output

    if during:
        core.step_fn = step_once
    return {**phase.ask(phase.conversations[number].opening), "document": number}


def _corruption(phase: Phase, conversation: Conversation) -> dict[str, Any]:
    gateway = phase.engine.worker._gateway
    keys = phase.keys(conversation.opening)
    size = phase.engine.worker.loader._layout.value_bytes
    (value,) = gateway.client.get(
        gateway.ns, [keys[CORRUPTED_BLOCK]], size, root=keys[0], depth=CORRUPTED_BLOCK
    )
    phase.engine.settle()
    phase.daemon.stop()
    flipped = _flip_on_disk(Path(phase.job["data_dir"]), value) if value else 0
    phase.daemon.start()
    phase.wait_for_daemon()
    phase.fresh()
    before = phase.engine.counts()
    answer = phase.ask(conversation.opening)
    after = phase.engine.counts()
    return {
        **answer,
        "flipped": flipped,
        "load_failures": grown(before, after, "load_failures"),
        "document": CORRUPTED_DOCUMENT,
    }


def _flip_on_disk(folder: Path, value: bytes) -> int:
    copies = 0
    for file in folder.rglob("*"):
        if not file.is_file() or file.stat().st_size < len(value):
            continue
        with open(file, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
            at = data.find(value[:4096])
            while at >= 0:
                data[at + 100] ^= 1
                copies += 1
                at = data.find(value[:4096], at + 1)
            data.flush()
    return copies


def _noise(phase: Phase, conversation: Conversation) -> dict[str, Any]:
    from kvgate import Reason, SetEntry

    gateway = phase.engine.worker._gateway
    keys = phase.keys(conversation.opening)
    size = phase.engine.worker.loader._layout.value_bytes
    phase.fresh()
    gateway.client.delete(gateway.ns, keys, timeout_ms=5_000)
    noise = random.Random(4)
    stored = 0
    for index, key in enumerate(keys):
        # bf16 numbers of size 1: no NaN, and unlike any key or value of the model.
        signs = noise.randbytes(size // 2)
        value = bytearray(size)
        value[0::2] = noise.randbytes(size // 2)
        value[1::2] = bytes(0x3F | (sign & 0x80) for sign in signs)
        root = keys[index - index % 128] if index % 128 else b""
        parent = keys[index - 1] if index else b""
        (result,) = gateway.client.set(
            gateway.ns, [SetEntry(key, bytes(value))], parent=parent, root=root, depth=index
        )
        stored += result.reason == Reason.OK
    return {**phase.ask(conversation.opening), "stored": stored, "document": 4}


PHASES = {
    "plain": plain,
    "cold": cold,
    "memory": lambda job: warm(job, restart_daemon=False),
    "disk": lambda job: warm(job, restart_daemon=True),
    "controls": controls,
}


def main() -> None:
    name, job, out = sys.argv[1:]
    result = PHASES[name](json.loads(Path(job).read_text()))
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
