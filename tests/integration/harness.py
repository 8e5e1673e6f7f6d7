# SPDX-License-Identifier: Apache-2.0
"""A kvgated as a child process, and a client made from the .proto files alone."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 60.0
MESSAGE_BYTES_MAX = 69 << 20
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    # Channels of one process would share a connection otherwise.
    ("grpc.use_local_subchannel_pool", 1),
)
SMALL = ("--memory=256MiB", "--disk=1GiB")


def generate_stubs(folder: Path) -> None:
    """kvgate.proto and admin.proto as Python modules under `folder`, importable from then on."""
    protos = ["proto/kvgate/v1/kvgate.proto", "proto/kvgate/v1/admin.proto"]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    command += [f"--python_out={folder}", f"--grpc_python_out={folder}", *protos]
    subprocess.run(command, cwd=ROOT, check=True)
    sys.path.insert(0, str(folder))


def pb():
    return importlib.import_module("proto.kvgate.v1.kvgate_pb2")


def admin_pb():
    return importlib.import_module("proto.kvgate.v1.admin_pb2")


class Daemon:
    def __init__(self, data_dir: Path, *flags: str, wrapper: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self.flags = flags
        self.wrapper = wrapper
        self.run_dir = data_dir / "run"
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Daemon:
        with self.log.open("ab") as log:
            offset = log.tell()
            command = [*self.wrapper, os.environ["KVGATED"], f"--data-dir={self.data_dir}"]
            self._process = subprocess.Popen([*command, *self.flags], stdout=log, stderr=log)
        limit = time.monotonic() + HANG_S
        while time.monotonic() < limit and self._process.poll() is None:
            lines = self.log.read_text(errors="replace")[offset:].splitlines()
            ready = [line for line in lines if line.startswith("kvgated ready ")]
            if ready:
                self.ready = dict(word.split("=", 1) for word in ready[-1].split()[2:])
                return self
            time.sleep(0.01)
        raise AssertionError(f"not ready:\n{self.text()}")

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP; returns when every thread has stopped."""
        self.send(signal.SIGSTOP)
        limit = time.monotonic() + HANG_S
        tasks = Path(f"/proc/{self.pid}/task")
        while any(_state(task) not in "Tt" for task in tasks.iterdir()):
            assert time.monotonic() < limit, "a thread runs on after SIGSTOP"
            time.sleep(0.001)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, limit_s: float) -> None:
        """Until it has ended; it is left as it is when it has not by then."""
        assert self._process is not None
        self._process.wait(timeout=limit_s)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal, waits for the end, answers the exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
        try:
            status = self._process.wait(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._process = None
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def channel(self, target: str | None = None) -> grpc.Channel:
        return grpc.insecure_channel(
            target or f"unix:{self.run_dir}/grpc.sock", options=CHANNEL_OPTIONS
        )

    def client(self, target: str | None = None) -> Client:
        return Client(self.channel(target))

    def stats(self, prefix: str = "") -> dict[str, float]:
        module = importlib.import_module("proto.kvgate.v1.admin_pb2_grpc")
        with self.channel(f"unix:{self.run_dir}/admin.sock") as channel:
            answer = module.AdminStub(channel).Stats(
                admin_pb().StatsRequest(prefix=prefix), timeout=HANG_S
            )
        return {counter.name: counter.value for counter in answer.counters}


def _state(task: Path) -> str:
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]


class Client:
    """Short words for what tests say often; everything else through `rpc`."""

    def __init__(self, channel: grpc.Channel) -> None:
        module = importlib.import_module("proto.kvgate.v1.kvgate_pb2_grpc")
        self.channel = channel
        self.rpc = module.KvCacheStub(channel)
        self.ns = 0

    def open(self, alias: str = "", required=(), **identity):
        request = pb().OpenRequest(
            identity=make_identity(**identity), alias=alias, required_features=required
        )
        answer = self.rpc.Open(request, timeout=HANG_S)
        self.ns = answer.namespace
        return answer

    def set(self, entries: dict[bytes, bytes], timeout: float = HANG_S, **fields):
        request = pb().SetRequest(
            namespace=fields.pop("ns", self.ns),
            entries=[
                pb().SetEntry(key=key, value_bytes=len(value)) for key, value in entries.items()
            ],
            values=list(entries.values()),
            **fields,
        )
        return self.rpc.Set(request, timeout=timeout)

    def get(self, keys: list[bytes], timeout: float = HANG_S, **fields):
        ns = fields.pop("ns", self.ns)
        return self.rpc.Get(pb().GetRequest(namespace=ns, keys=keys, **fields), timeout=timeout)

    def lookup(self, keys: list[bytes], timeout: float = HANG_S, match: int = 0, **fields):
        query = pb().GroupQuery(keys=keys, match=match)
        ns = fields.pop("ns", self.ns)
        request = pb().LookupRequest(namespace=ns, queries=[query], **fields)
        return self.rpc.Lookup(request, timeout=timeout)

    def delete(self, keys: list[bytes], **fields):
        request = pb().DeleteRequest(namespace=self.ns, keys=keys, **fields)
        return self.rpc.Delete(request, timeout=HANG_S)


def make_identity(**changes):
    fields = {
        "model": "demo",
        "weights_digest": b"\x01" * 32,
        "rope": "{}",
        "dtype": "bfloat16",
        "kv_cache_dtype": "auto",
        "attention_backend": "cpu",
        "isa": "avx512",
        "arch": "x86_64",
        "layout": "opaque",
        "tp_size": 1,
        "prefix_hash_algorithm": "sha256",
        "engine_version": "vllm 0.32",
        "groups": [
            pb().KvGroup(
                kind=pb().GROUP_KIND_FULL_ATTENTION,
                block_tokens=32,
                layer_names=["layer.0"],
                spec="full",
                page_bytes=4096,
            )
        ],
    }
    fields.update(changes)
    return pb().Identity(**fields)


def value_of(key: bytes, size: int) -> bytes:
    """Bytes that say which key they belong to."""
    unit = key + b"|"
    return (unit * (size // len(unit) + 1))[:size]


_CRC_TABLE: list[int] = []


def crc32c(data: bytes) -> int:
    if not _CRC_TABLE:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
            _CRC_TABLE.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
