# SPDX-License-Identifier: Apache-2.0
"""The identity of an engine's KV blocks, from vllm_config and kv_cache_config.

Pure, but for reading the model's files. Both roles compute it, in different processes, from the
same facts, and compare digests. Unsupported says what this connector cannot keep apart or move;
the engine then runs without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from kvgate.errors import tagged
from kvgate.identity import GroupKind, Identity, KvGroup
from kvgate.vllm.settings import Settings

EDGE_BYTES = 1 << 20  # hashed at head and tail of each weight file
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npcache")
# Drafters without weights of their own: their method changes no KV byte.
WEIGHTLESS_DRAFTERS = ("ngram", "ngram_gpu", "suffix")


class Unsupported(Exception):
    """A configuration whose blocks must not be cached; the text says why and what would help."""

    def __init__(self, text: str, error_id: str = "KVG604") -> None:
        super().__init__(tagged(error_id, text))


def build_identity(vllm_config: Any, kv_cache_config: Any, settings: Settings) -> Identity:
    model, cache = vllm_config.model_config, vllm_config.cache_config
    group = _only_group(kv_cache_config)
    _check_supported(vllm_config, settings)
    return Identity(
        model=_model_name(model.model),
        weights_digest=b"" if settings.weights_id else weights_digest(vllm_config),
        weights_id=settings.weights_id,
        weights_epoch=settings.weights_epoch,
        rope=_rope(model),
        dtype=str(model.dtype),
        kv_cache_dtype=str(cache.cache_dtype),
        attention_backend="CPU_ATTN",
        isa=_isa(model, cache, group),
        arch=platform.machine(),
        layout=kv_cache_config.kv_cache_layout or "",
        groups=(group,),
        tp_size=1,
        pp_size=1,
        prefix_hash_algorithm=cache.prefix_caching_hash_algo,
        prefix_hash_seed=_hash_seed(),
        hash_block_tokens=kv_cache_config.hash_block_size or group.block_tokens,
        engine_version=_engine_version(),
        extra=_extra(vllm_config),
    )


def _only_group(kv_cache_config: Any) -> KvGroup:
    from vllm.v1.kv_cache_interface import FullAttentionSpec, UniformTypeKVCacheSpecs

    groups = kv_cache_config.kv_cache_groups
    if len(groups) != 1:
        raise Unsupported(f"{len(groups)} KV-cache groups; this connector moves exactly one")
    spec, names = groups[0].kv_cache_spec, list(groups[0].layer_names)
    uniform = isinstance(spec, UniformTypeKVCacheSpecs)
    specs = list(spec.kv_cache_specs.values()) if uniform else [spec]
    for one in specs:
        if not isinstance(one, FullAttentionSpec):
            raise Unsupported(f"KV-cache spec {type(one).__name__}; only full attention is moved")
    return KvGroup(
        kind=GroupKind.FULL_ATTENTION,
        block_tokens=spec.block_size,
        layer_names=names,
        spec="; ".join(sorted({repr(one) for one in specs})),
        page_bytes=spec.page_size_bytes // (len(names) if uniform else 1),
    )


def _check_supported(vllm_config: Any, settings: Settings) -> None:
    parallel, cache = vllm_config.parallel_config, vllm_config.cache_config
    if parallel.world_size != 1 or getattr(parallel, "decode_context_parallel_size", 1) != 1:
        raise Unsupported(f"{parallel.world_size} ranks; this connector serves engines of one rank")
    if vllm_config.device_config.device_type != "cpu":
        raise Unsupported(f"device {vllm_config.device_config.device_type}; only cpu is supported")
    if cache.prefix_caching_hash_algo.startswith("xxhash"):
        raise Unsupported(
            f"prefix_caching_hash_algo {cache.prefix_caching_hash_algo} is not resistant to "
            "collisions; use sha256_cbor or sha256",
            "KVG210",
        )
    if getattr(cache, "calculate_kv_scales", False):
        raise Unsupported("dynamically computed KV scales change the meaning of stored bytes")
    speculative = vllm_config.speculative_config
    if speculative and speculative.method not in WEIGHTLESS_DRAFTERS and not settings.weights_id:
        raise Unsupported(
            f"speculative method {speculative.method} has weights of its own: set weights_id",
            "KVG605",
        )


def weights_digest(vllm_config: Any) -> bytes:
    """SHA-256 over config.json and each weight file's name, size, head and tail."""
    model = vllm_config.model_config.model
    if str(getattr(vllm_config.load_config, "load_format", "auto")) == "dummy":
        raise Unsupported("load_format dummy has no weight files: set weights_id", "KVG605")
    folder = _model_folder(model, getattr(vllm_config.model_config, "revision", None))
    digest = hashlib.sha256()
    config = folder / "config.json"
    if config.is_file():
        _add(digest, config.name, config.read_bytes())
    files = sorted(f for f in folder.rglob("*") if f.suffix in WEIGHT_SUFFIXES and f.is_file())
    if not files:
        raise Unsupported(f"no weight files below {folder}: set weights_id", "KVG605")
    for file in files:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            head = stream.read(EDGE_BYTES)
            stream.seek(max(0, size - EDGE_BYTES))
            tail = stream.read(EDGE_BYTES)
        name = file.relative_to(folder).as_posix()
        _add(digest, name, size.to_bytes(8, "little"), head, tail)
    return digest.digest()


def _add(digest: Any, name: str, *parts: bytes) -> None:
    for part in (name.encode(), *parts):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _model_folder(model: str, revision: str | None) -> Path:
    if os.path.isdir(model):
        return Path(model)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except Exception as error:
        text = f"weight files of {model} not found ({error}): set weights_id"
        raise Unsupported(text, "KVG605") from error


def _model_name(model: str) -> str:
    """A path is a host's own business; its last part is the name."""
    return os.path.basename(os.path.normpath(model)) if os.path.isdir(model) else model


def _rope(model: Any) -> str:
    if callable(model.hf_overrides):
        raise Unsupported("hf_overrides is a function, whose effect cannot be named")
    text = model.hf_text_config
    facts = {
        "hf_overrides": model.hf_overrides or None,
        "rope_parameters": getattr(text, "rope_parameters", None),
        "rope_scaling": getattr(text, "rope_scaling", None),
        "rope_theta": getattr(text, "rope_theta", None),
    }
    present = {name: value for name, value in facts.items() if value is not None}
    return json.dumps(present, sort_keys=True, default=str)


def _isa(model: Any, cache: Any, group: KvGroup) -> str:
    """How the CPU kernels pack a block: bytes of one are unreadable to another."""
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    return str(
        _get_attn_isa(model.dtype, group.block_tokens, model.get_head_size(), cache.cache_dtype)
    )


def _hash_seed() -> str:
    """What NONE_HASH is derived from; the same in every process of this configuration."""
    from vllm.v1.core.kv_cache_utils import DEFAULT_NONE_HASH_SEED

    return os.environ.get("PYTHONHASHSEED", DEFAULT_NONE_HASH_SEED)


def _engine_version() -> str:
    import vllm

    return "vllm " + ".".join(vllm.__version__.split(".")[:2])


def _extra(vllm_config: Any) -> dict[str, str]:
    facts = {
        "quantization": vllm_config.model_config.quantization,
        "kv_cache_dtype_skip_layers": getattr(
            vllm_config.cache_config, "kv_cache_dtype_skip_layers", None
        ),
    }
    return {name: str(value) for name, value in facts.items() if value}
