# SPDX-License-Identifier: Apache-2.0
"""Settings: kv_connector_extra_config, checked.

Immutable. A wrong name, type or value raises SettingsError naming field, value and limit; the
connector logs it and stays out of the engine's way.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kvgate.errors import tagged

MIB = 1 << 20


class SettingsError(ValueError):
    """Names field, value and limit."""

    def __init__(self, text: str) -> None:
        super().__init__(tagged("KVG606", text))


@dataclass(frozen=True)
class Settings:
    local_socket: str = "/run/kvgate/local.sock"
    grpc_target: str = ""
    transport: str = "auto"  # auto | local | grpc
    library: str = ""  # path of libkvgate.so; empty: beside the package, then $KVGATE_LIB
    grpc_library: str = ""
    token_file: str = ""  # whose first line the gateway asks for; else $KVGATE_TOKEN_FILE
    alias: str = ""  # operator's name of this deployment; a differing identity is then refused
    weights_id: str = ""  # instead of a digest of the weight files
    weights_epoch: int = 0
    keep_fail: bool = False  # leave kv_load_failure_policy as it is
    verify: str = "default"  # default (1/64 local, always over gRPC) | always | sampled | never
    save: bool = True
    load: bool = True
    huge_pages: bool = True  # ask for them below the engine's KV cache, which speeds first loads
    staging_bytes: int = 32 * MIB
    send_queue: int = 256  # saves waiting for the gateway
    load_threads: int = 2
    pin_ms: int = 10_000
    open_timeout_ms: int = 200
    lookup_timeout_ms: float = 10.0
    save_timeout_ms: float = 5_000.0
    load_slack_ms: float = 50.0  # load deadline = 2 x predicted + slack, at most the recompute time
    recompute_ms_per_token: float = 0.0  # 0: measured

    @staticmethod
    def parse(extra: Mapping[str, Any]) -> Settings:
        """From extra_config; what is not given comes from KVGATE_LOCAL_SOCKET, then defaults."""
        known = {f.name: f for f in fields(Settings)}
        values: dict[str, Any] = {}
        if os.environ.get("KVGATE_LOCAL_SOCKET"):
            values["local_socket"] = os.environ["KVGATE_LOCAL_SOCKET"]
        for name, value in extra.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"kv_connector_extra_config.{name} is unknown{hint}")
            values[name] = _convert(name, value, type(known[name].default))
        settings = Settings(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        _one_of("transport", self.transport, ("auto", "local", "grpc"))
        _one_of("verify", self.verify, ("default", "always", "sampled", "never"))
        _within("staging_bytes", self.staging_bytes, MIB, 1 << 40)
        _within("send_queue", self.send_queue, 1, 65_536)
        _within("load_threads", self.load_threads, 1, 64)
        _within("pin_ms", self.pin_ms, 100, 30_000)
        _within("open_timeout_ms", self.open_timeout_ms, 1, 10_000)
        _within("lookup_timeout_ms", self.lookup_timeout_ms, 0.1, 10_000)
        _within("save_timeout_ms", self.save_timeout_ms, 1, 60_000)
        _within("load_slack_ms", self.load_slack_ms, 0, 60_000)
        _within("recompute_ms_per_token", self.recompute_ms_per_token, 0, 1e6)
        _within("weights_epoch", self.weights_epoch, 0, (1 << 64) - 1)
        if self.transport == "grpc" and not self.grpc_target:
            raise SettingsError("grpc_target is empty, but transport is grpc")


def _convert(name: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to Python, not to a reader of a configuration.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"{name} = {value!r}: {kind.__name__} expected")
    return value


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} = {value!r}: one of {', '.join(allowed)} expected")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{name} = {value}: {low} ... {high} expected")
