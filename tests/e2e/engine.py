# SPDX-License-Identifier: Apache-2.0
"""Engine: a vLLM in this process, with the connector or without; one at a time.

Not thread-safe. Deadlines are generous (PATIENT), so that a busy machine changes no result; tests
of deadlines set their own.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 32
WAIT_S = 60.0  # finds hangs

PATIENT = {
    "verify": "always",
    "staging_bytes": 8 << 20,
    "open_timeout_ms": 5_000,
    "lookup_timeout_ms": 2_000,
    "load_slack_ms": 20_000,
    "recompute_ms_per_token": 1000.0,
}


@dataclass
class Output:
    tokens: list[int]
    cached: int
    finish_reason: str


def transfer_config(extra: dict[str, Any], patient: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "kv_connector": "KvgateConnector",
        "kv_connector_module_path": "kvgate.vllm",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {**(PATIENT if patient else {}), **extra},
        **more,
    }


def prompt(length: int, seed: int) -> list[int]:
    """Token ids that differ from the first one on for different seeds."""
    return [3 + (i * 37 + seed * 101 + seed * seed * i) % 500 for i in range(length)]


class Engine:
    def __init__(self, model: str, transfer: dict[str, Any] | None, **options: Any) -> None:
        from vllm import LLM
        from vllm.config import KVTransferConfig

        settings: dict[str, Any] = {
            "dtype": "bfloat16",
            "max_model_len": 2048,
            "enforce_eager": True,
            "block_size": BLOCK,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 2048,
            "seed": 0,
            "enable_prefix_caching": True,
            "disable_log_stats": False,
            **options,
        }
        if transfer is not None:
            settings["kv_transfer_config"] = KVTransferConfig(**transfer)
        self.llm = LLM(model=model, **settings)

    @property
    def core(self) -> Any:
        return self.llm.llm_engine.engine_core.engine_core

    @property
    def vllm_scheduler(self) -> Any:
        return self.core.scheduler

    @property
    def scheduler(self) -> Any:
        """The connector's scheduler side."""
        return self.vllm_scheduler.connector.scheduler

    @property
    def worker(self) -> Any:
        """The connector's worker side."""
        from vllm.distributed.kv_transfer import get_kv_transfer_group

        return get_kv_transfer_group().worker

    def generate(self, prompts: list[list[int]], max_tokens: int = 8) -> list[Output]:
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
        inputs = [{"prompt_token_ids": ids} for ids in prompts]
        outputs = self.llm.generate(inputs, sampling, use_tqdm=False)
        return [
            Output(
                list(o.outputs[0].token_ids), o.num_cached_tokens, str(o.outputs[0].finish_reason)
            )
            for o in outputs
        ]

    def one(self, ids: list[int], max_tokens: int = 8) -> list[int]:
        (output,) = self.generate([ids], max_tokens)
        assert output.finish_reason == "length"
        return output.tokens

    def add(self, request_id: str, ids: list[int], max_tokens: int = 8) -> None:
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
        self.llm.llm_engine.add_request(request_id, {"prompt_token_ids": ids}, sampling)

    def step(self) -> list[Any]:
        return self.llm.llm_engine.step()

    def finish(self) -> dict[str, list[int]]:
        """Steps until nothing is left; the tokens of what finished."""
        done: dict[str, list[int]] = {}
        while self.llm.llm_engine.has_unfinished_requests():
            for output in self.step():
                if output.finished:
                    done[output.request_id] = list(output.outputs[0].token_ids)
        return done

    def settle(self) -> None:
        """Everything gathered was sent, every errand run."""
        assert self.worker.wait_saved(WAIT_S)
        assert self.scheduler.wait_errands(WAIT_S)

    def forget(self) -> None:
        """The engine's own prefix cache is empty afterwards."""
        self.settle()
        assert self.llm.reset_prefix_cache()

    def counts(self) -> dict[str, float]:
        return {**self.scheduler.recorder.totals(), **self.worker.recorder.totals()}

    def close(self) -> None:
        core = self.llm.llm_engine.engine_core
        core.shutdown()
        del self.llm
        gc.collect()


def wait_stopped(pid: int) -> None:
    """Until each thread of the process obeys a SIGSTOP that was sent to it."""
    tasks = Path(f"/proc/{pid}/task")
    while any(
        stat.read_text().rpartition(")")[2].split()[0] != "T" for stat in tasks.glob("*/stat")
    ):
        time.sleep(0.001)


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after.get(name, 0) - before.get(name, 0)


def loaded_tokens(before: dict[str, float], after: dict[str, float]) -> float:
    names = [name for name in after if name.startswith("loaded_tokens_")]
    return sum(grown(before, after, name) for name in names)
