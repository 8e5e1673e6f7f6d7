# SPDX-License-Identifier: Apache-2.0
"""Engines of other settings, one after the other: gRPC, and addresses that are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import models
import pytest
from conftest import Daemon
from engine import Engine, grown, loaded_tokens, prompt, transfer_config
from kvgate.vllm import layout as layout_module


def test_blocks_are_found_again_over_grpc(daemon: Daemon, tiny_model: str) -> None:
    extra = {
        "transport": "grpc",
        "grpc_target": daemon.grpc_target,
        "grpc_library": os.environ.get("KVGATE_GRPC_LIB", ""),
        "weights_id": "over-grpc",  # a namespace of its own
    }
    engine = Engine(tiny_model, transfer_config(extra))
    for length in (191, 192, 193):
        ids = prompt(length, seed=length)
        cold = engine.one(ids)
        engine.forget()
        before = engine.counts()
        assert engine.one(ids) == cold
        after = engine.counts()
        assert loaded_tokens(before, after) == (length - 1) // 32 * 32
        assert grown(before, after, "verified_blocks") == (length - 1) // 32
        engine.forget()
    assert engine.worker._gateway.client.stats().transport == "grpc"
    engine.close()


def test_layers_of_two_kinds_are_one_group_and_found_again(daemon: Daemon, tmp_path: Path) -> None:
    models.make_model(tmp_path, "hybrid", [Path(models.__file__).read_text()])
    engine = Engine(str(tmp_path), transfer_config({"local_socket": daemon.local_socket}))
    assert len(engine.vllm_scheduler.kv_cache_config.kv_cache_groups) == 1
    ids = prompt(300, seed=2)  # several windows
    cold = engine.one(ids)
    engine.forget()
    before = engine.counts()
    assert engine.one(ids) == cold
    after = engine.counts()
    assert loaded_tokens(before, after) == 288
    assert grown(before, after, "verified_blocks") == 9
    engine.close()


def test_an_engine_with_wrong_addresses_starts_serves_and_says_which_layer(
    daemon: Daemon,
    tiny_model: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = Engine(tiny_model, None)
    ids = prompt(300, seed=1)
    right = plain.one(ids)
    plain.close()
    block_stride = layout_module.block_stride
    monkeypatch.setattr(layout_module, "block_stride", lambda tensor: block_stride(tensor) // 2)
    extra = {"local_socket": daemon.local_socket, "keep_fail": True}
    engine = Engine(tiny_model, transfer_config(extra))
    assert "model.layers.0.self_attn.attn" in engine.scheduler.worker_problem
    assert "self-test of block addresses failed: layer model.layers.0" in caplog.text
    assert engine.one(ids) == right
    engine.forget()
    assert engine.one(ids) == right
    assert engine.counts().get("saved_blocks", 0) == 0
    assert engine.vllm_scheduler.recompute_kv_load_failures is False  # keep_fail
    engine.close()
