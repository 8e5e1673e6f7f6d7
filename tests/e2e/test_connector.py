# SPDX-License-Identifier: Apache-2.0
"""The class that vLLM loads, built by vLLM's own factory: policy, settings, identity."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Daemon
from driver import BLOCK, BLOCKS, LAYERS, PAGE_BYTES
from engine import WAIT_S
from kvgate import Client, Code
from kvgate.vllm.connector import KvgateConnector
from kvgate.vllm.identity import Unsupported, build_identity, weights_digest
from kvgate.vllm.messages import StepMetadata
from kvgate.vllm.settings import Settings, SettingsError
from kvgate.vllm.stats import KvgateStats, Recorder
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from vllm import SamplingParams
from vllm.config import KVTransferConfig
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1 import KVConnectorRole, SupportsHMA
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request

CONNECTOR = {
    "kv_connector": "KvgateConnector",
    "kv_connector_module_path": "kvgate.vllm",
    "kv_role": "kv_both",
}


@pytest.fixture(scope="module")
def vllm_config(tiny_model: str) -> Any:
    arguments = EngineArgs(
        model=tiny_model,
        dtype="bfloat16",
        max_model_len=2048,
        enforce_eager=True,
        block_size=BLOCK,
        disable_hybrid_kv_cache_manager=True,
    )
    return arguments.create_engine_config()


@pytest.fixture
def config(vllm_config: Any) -> Any:
    return copy.copy(vllm_config)


def kv_cache_config(groups: int = 1) -> KVCacheConfig:
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=32, dtype=torch.bfloat16)
    assert spec.page_size_bytes == PAGE_BYTES
    return KVCacheConfig(
        num_blocks=BLOCKS,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(list(LAYERS), spec) for _ in range(groups)],
        kv_cache_layout="LBHNC",
        hash_block_size=BLOCK,
    )


def make(
    config: Any,
    transfer: KVTransferConfig,
    role: KVConnectorRole = KVConnectorRole.SCHEDULER,
    caches: KVCacheConfig | None = None,
) -> Any:
    config.kv_transfer_config = transfer
    return KVConnectorFactory.create_connector(config, role, caches or kv_cache_config())


def transfer(daemon: Daemon | None, policy: str = "fail", **extra: Any) -> KVTransferConfig:
    socket = daemon.local_socket if daemon else "/nowhere/local.sock"
    return KVTransferConfig(
        **CONNECTOR,
        kv_load_failure_policy=policy,
        kv_connector_extra_config={"local_socket": socket, **extra},
    )


def multi(daemon: Daemon, policy: str) -> KVTransferConfig:
    child = {**CONNECTOR, "kv_connector_extra_config": {"local_socket": daemon.local_socket}}
    return KVTransferConfig(
        kv_connector="MultiConnector",
        kv_role="kv_both",
        kv_load_failure_policy=policy,
        kv_connector_extra_config={"connectors": [child]},
    )


# ---- policy -----------------------------------------------------------------------------------


def test_the_policy_becomes_recompute_and_that_is_logged(
    config: Any, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    made = transfer(daemon)
    connector = make(config, made)
    assert made.kv_load_failure_policy == "recompute"
    assert "fail -> recompute" in caplog.text
    assert connector.scheduler._refuse_claims == ""
    connector.shutdown()


def test_keep_fail_leaves_the_policy(config: Any, daemon: Daemon) -> None:
    made = transfer(daemon, keep_fail=True)
    make(config, made).shutdown()
    assert made.kv_load_failure_policy == "fail"


@pytest.mark.parametrize(("policy", "claims"), [("fail", False), ("recompute", True)])
def test_under_a_multi_connector_the_parents_policy_decides(
    config: Any, daemon: Daemon, policy: str, claims: bool, caplog: pytest.LogCaptureFixture
) -> None:
    parent = make(config, multi(daemon, policy))
    (child,) = parent.sub_connectors
    assert isinstance(child, KvgateConnector)
    assert (child.scheduler._refuse_claims == "") is claims
    assert ("MultiConnector is fail" in caplog.text) is not claims
    assert config.kv_transfer_config.kv_load_failure_policy == policy
    parent.shutdown()


def test_under_a_multi_connector_the_handshake_is_left_to_others(
    config: Any, daemon: Daemon
) -> None:
    parent = make(config, multi(daemon, "recompute"), KVConnectorRole.WORKER)
    assert parent.get_handshake_metadata() is None
    parent.shutdown()


def test_delivery_is_not_required(config: Any, daemon: Daemon) -> None:
    connector = make(config, transfer(daemon))
    assert connector.requires_kv_delivery is False
    connector.shutdown()


def test_vllm_makes_one_group_of_hybrid_layers_because_several_are_not_moved() -> None:
    assert not issubclass(KvgateConnector, SupportsHMA)


def test_a_finished_request_never_holds_its_blocks(config: Any, daemon: Daemon) -> None:
    connector = make(config, transfer(daemon))
    request = Request("r", list(range(3, 200)), SamplingParams(max_tokens=8), None)
    request.block_hashes = [bytes([i]) * 32 for i in range(6)]
    assert connector.get_num_new_matched_tokens(request, 0) == (0, False)
    request.num_computed_tokens = 197
    assert connector.request_finished(request, [1, 2, 3, 4, 5, 6, 7]) == (False, None)
    assert connector.scheduler.wait_errands(WAIT_S)
    assert connector.get_kv_connector_stats().data["touches"] == 1
    connector.shutdown()


def test_nothing_waits_for_a_layer(config: Any, daemon: Daemon) -> None:
    """Loads are asynchronous, and a block is saved whole."""
    connector = make(config, transfer(daemon), KVConnectorRole.WORKER)
    connector.bind_connector_metadata(StepMetadata())
    connector.wait_for_layer_load(LAYERS[0])
    connector.save_kv_layer(LAYERS[0], None, None)
    assert connector.get_kv_connector_stats() is None
    connector.shutdown()


def test_each_counter_is_a_label_on_the_prometheus_page(config: Any) -> None:
    registry = CollectorRegistry()
    types = {kind: partial(kind, registry=registry) for kind in (Counter, Gauge, Histogram)}
    metrics = KvgateConnector.build_prom_metrics(config, types, ["engine"], {0: ["0"]})
    metrics.observe({"loads": 2, "load_ms_sum": 1.5}, engine_idx=0)
    metrics.observe({"loads": 1}, engine_idx=0)
    values = {
        sample.labels["what"]: sample.value
        for family in metrics._total.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert values == {"loads": 3, "load_ms_sum": 1.5}


def test_the_breakers_state_is_on_the_page_through_an_outage(config: Any, daemon: Daemon) -> None:
    registry = CollectorRegistry()
    types = {kind: partial(kind, registry=registry) for kind in (Counter, Gauge, Histogram)}
    metrics = KvgateConnector.build_prom_metrics(config, types, ["engine"], {0: ["0"]})

    def shown(role: str) -> float | None:
        labels = {"engine": "0", "role": role}
        return registry.get_sample_value("vllm:kvgate_connector_breaker_state", labels)

    connector = make(config, transfer(daemon))
    client = connector.scheduler._gateway.client
    assert shown("scheduler") == shown("worker") == 0
    daemon.kill()
    while client.ping(timeout_ms=100) == 0 or client.stats().breaker_state != 2:
        pass
    told = connector.get_kv_connector_stats()
    assert told.data["breaker_state_scheduler"] == 2 and told.data["breaker_opens"] == 1
    assert told.data[f"breaker_opens_{client.stats().breaker_reason}"] == 1
    metrics.observe(told.data)
    assert (shown("scheduler"), shown("worker")) == (2, 0)
    # While it is open each report says so, and no sum is made of it.
    again = told.aggregate(connector.get_kv_connector_stats())
    assert again.data["breaker_state_scheduler"] == 2
    daemon.start()
    while client.ping(timeout_ms=1000) != 0:
        pass
    told = connector.get_kv_connector_stats()
    assert told.data["breaker_state_scheduler"] == 0
    metrics.observe(told.data)
    assert shown("scheduler") == 0
    assert connector.get_kv_connector_stats() is None
    connector.shutdown()


def test_a_token_that_is_refused_is_said_once_and_turns_nothing_off(
    config: Any, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make(config, transfer(daemon))
    gateway = connector.scheduler._gateway
    for code in (Code.UNAUTHENTICATED, Code.UNAUTHENTICATED, Code.UNAVAILABLE):
        gateway.learn_token(code, "token: none")
    said = [r for r in caplog.records if "refuses this engine's token" in r.getMessage()]
    assert len(said) == 1 and said[0].getMessage().endswith("[KVG215]")
    gateway._namespace = gateway._namespace._replace(code=Code.UNAUTHENTICATED)
    assert gateway.refused() == ""
    connector.shutdown()


# ---- nothing keeps the engine from starting ----------------------------------------------------


@pytest.mark.parametrize("role", list(KVConnectorRole))
def test_an_absent_gateway_is_no_obstacle(config: Any, role: KVConnectorRole) -> None:
    connector = make(config, transfer(None), role)
    assert connector.off == ""
    connector.shutdown()


@pytest.mark.parametrize("role", list(KVConnectorRole))
@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"staging_byte": 1}, "staging_byte is unknown; did you mean staging_bytes? [KVG606]"),
        ({"verify": "often"}, "verify = 'often'"),
        ({"library": "/nowhere/libkvgate.so"}, "/nowhere/libkvgate.so"),
    ],
)
def test_what_is_wrong_is_logged_and_the_connector_is_off(
    config: Any,
    role: KVConnectorRole,
    extra: dict[str, Any],
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connector = make(config, transfer(None, **extra), role)
    assert named in connector.off
    assert named in caplog.text
    assert re.search(r" \[KVG\d{3}\]$", connector.off)
    assert connector.request_finished(object(), []) == (False, None)
    assert connector.get_num_new_matched_tokens(object(), 0) == (0, False)
    connector.shutdown()


def test_a_worker_that_is_off_fails_the_loads_it_is_given(config: Any) -> None:
    from kvgate.vllm.messages import LoadJob

    connector = make(config, transfer(None, verify="often"), KVConnectorRole.WORKER)
    job = LoadJob("r", [5, 6], [b"a", b"b"], 0, b"", 0, 100)
    connector.bind_connector_metadata(StepMetadata([job]))
    connector.start_load_kv(None)
    connector.wait_for_save()
    assert connector.get_transfer_results(set()).finished_recving == {"r"}
    assert connector.get_block_ids_with_load_errors() == {5, 6}
    assert connector.get_transfer_results(set()).finished_recving == set()
    assert connector.get_block_ids_with_load_errors() == set()
    assert "often" in connector.get_handshake_metadata().problem


def test_a_fault_of_ours_turns_it_off_and_the_engine_goes_on(config: Any, daemon: Daemon) -> None:
    connector = make(config, transfer(daemon))
    assert connector.get_num_new_matched_tokens(object(), 0) == (0, False)
    assert "a look-up failed" in connector.scheduler.worker_problem
    connector.shutdown()


def test_a_reset_of_the_engines_caches_reaches_the_scheduler(config: Any, daemon: Daemon) -> None:
    connector = make(config, transfer(daemon))
    assert connector.reset_cache() is True
    assert "weights_epoch" in connector.scheduler.worker_problem
    connector.shutdown()


def test_several_groups_are_refused_with_a_reason(config: Any, daemon: Daemon) -> None:
    connector = make(config, transfer(daemon), caches=kv_cache_config(groups=2))
    assert "2 KV-cache groups" in connector.off


def test_a_handshake_with_a_problem_turns_the_scheduler_off(config: Any, daemon: Daemon) -> None:
    from kvgate.vllm.messages import Handshake

    connector = make(config, transfer(daemon))
    connector.set_xfer_handshake_metadata_pp_aware({(0, 0): Handshake("layer 3 is off", 1.0)})
    assert "layer 3 is off" in connector.scheduler.worker_problem
    connector.shutdown()


# ---- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"pin_ms": 60_000}, "pin_ms = 60000: 100 ... 30000"),
        ({"pin_ms": "5"}, "pin_ms = '5': int"),
        ({"save": 1}, "save = 1: bool"),
        ({"load_threads": True}, "load_threads = True: int"),
        ({"transport": "grpc"}, "grpc_target is empty"),
        ({"transport": "rdma"}, "transport = 'rdma'"),
    ],
)
def test_a_wrong_setting_names_field_and_value(extra: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.parse(extra)
    assert text in str(error.value) and str(error.value).endswith(" [KVG606]")


def test_defaults_are_the_promised_deadlines() -> None:
    settings = Settings.parse({})
    assert (settings.lookup_timeout_ms, settings.save_timeout_ms) == (10, 5000)
    assert settings.load_slack_ms == 50


def test_the_socket_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVGATE_LOCAL_SOCKET", "/x/local.sock")
    assert Settings.parse({}).local_socket == "/x/local.sock"
    assert Settings.parse({"local_socket": "/y"}).local_socket == "/y"


# ---- identity ---------------------------------------------------------------------------------


def identity(config: Any, caches: KVCacheConfig | None = None, **extra: Any) -> bytes:
    settings = Settings.parse(extra)
    return build_identity(config, caches or kv_cache_config(), settings).digest()


def change(path: str, value: Any) -> Callable[[Any], None]:
    def apply(config: Any) -> None:
        *parents, last = path.split(".")
        target = config
        for name in parents:
            child = copy.copy(getattr(target, name))
            object.__setattr__(target, name, child)
            target = child
        object.__setattr__(target, last, value)

    return apply


@pytest.mark.parametrize(
    "apply",
    [
        change("model_config.dtype", torch.float16),
        change("model_config.hf_overrides", {"rope_theta": 1.0}),
        change("model_config.quantization", "fp8"),
        change("cache_config.cache_dtype", "fp8_e5m2"),
        change("cache_config.prefix_caching_hash_algo", "sha256_cbor"),
    ],
)
def test_what_changes_the_bytes_changes_the_identity(
    config: Any, apply: Callable[[Any], None]
) -> None:
    before = identity(config)
    apply(config)
    assert identity(config) != before


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("vllm.v1.attention.backends.cpu_attn", "_get_attn_isa", lambda *arguments: "other"),
        ("vllm", "__version__", "0.33.0"),
        ("platform", "machine", lambda: "riscv64"),
    ],
)
def test_the_isa_the_engine_and_the_machine_are_in_the_identity(
    config: Any, monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: Any
) -> None:
    before = identity(config)
    monkeypatch.setattr(f"{where}.{name}", value)
    assert identity(config) != before


@pytest.mark.parametrize("changed", ["layout", "layers", "block", "page", "hash block"])
def test_the_form_of_the_cache_is_in_the_identity(config: Any, changed: str) -> None:
    caches = kv_cache_config()
    (group,) = caches.kv_cache_groups
    if changed == "layout":
        caches.kv_cache_layout = "LBNHC"
    elif changed == "layers":
        group.layer_names = group.layer_names[::-1]
    elif changed == "block":
        group.kv_cache_spec = replace(group.kv_cache_spec, block_size=2 * BLOCK)
    elif changed == "page":
        group.kv_cache_spec = replace(group.kv_cache_spec, num_kv_heads=2)
    else:
        caches.hash_block_size = BLOCK // 2
    assert identity(config, caches) != identity(config)


def test_the_hash_seed_changes_the_identity(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(config)
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert identity(config) != before


def test_the_weights_epoch_changes_the_identity(config: Any) -> None:
    assert identity(config, weights_epoch=1) != identity(config)


def test_the_same_model_in_another_folder_is_the_same(
    config: Any, tiny_model: str, tmp_path: Path
) -> None:
    import shutil

    before = identity(config)
    copied = tmp_path / Path(tiny_model).name
    shutil.copytree(tiny_model, copied)
    change("model_config.model", str(copied))(config)
    assert identity(config) == before


def test_other_weights_are_another_identity(config: Any, tiny_model: str, tmp_path: Path) -> None:
    import shutil

    before = weights_digest(config)
    copied = tmp_path / Path(tiny_model).name
    shutil.copytree(tiny_model, copied)
    (file,) = copied.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    change("model_config.model", str(copied))(config)
    assert weights_digest(config) != before


@pytest.mark.parametrize(
    ("apply", "text"),
    [
        (change("cache_config.prefix_caching_hash_algo", "xxhash"), r"collisions.*\[KVG210\]$"),
        (change("parallel_config.world_size", 2), r"2 ranks.*\[KVG604\]$"),
        (change("model_config.model", "nobody/nothing"), r"set weights_id \[KVG605\]$"),
        (change("model_config.hf_overrides", lambda c: c), r"function.*\[KVG604\]$"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    config: Any, apply: Callable[[Any], None], text: str
) -> None:
    apply(config)
    with pytest.raises(Unsupported, match=text):
        identity(config)


def test_both_roles_compute_the_same_identity(config: Any, daemon: Daemon) -> None:
    scheduler = make(config, transfer(daemon))
    worker = make(config, transfer(daemon), KVConnectorRole.WORKER)
    assert scheduler.scheduler._gateway.identity_digest == worker.worker._gateway.identity_digest
    scheduler.shutdown()
    worker.shutdown()


# ---- stats, and other libraries in the process --------------------------------------------------


def test_stats_add_up_over_workers_and_steps() -> None:
    recorder = Recorder()
    recorder.add(loads=1, load_ms_sum=1.5)
    first = recorder.take()
    recorder.add(loads=2)
    second = recorder.take()
    assert first is not None and second is not None and recorder.take() is None
    total = KvgateConnector.build_kv_connector_stats(first.to_dict()).aggregate(second)
    assert isinstance(total, KvgateStats)
    assert total.reduce() == {"load_ms_sum": 1.5, "loads": 3}
    assert recorder.totals() == {"load_ms_sum": 1.5, "loads": 3}


def test_the_library_lives_beside_torch_grpcio_and_pyarrow(daemon: Daemon) -> None:
    import grpc
    import pyarrow

    with Client(local_socket=daemon.local_socket) as client:
        assert client.ping(timeout_ms=2000) == 0
        assert torch.ones(2).sum().item() == 2
        assert pyarrow.array([1, 2]).to_pylist() == [1, 2]
        grpc.insecure_channel("unix:/nowhere").close()
