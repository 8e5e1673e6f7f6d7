# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one daemon for all tests, kept alive between them, and the tiny model."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "demo"))

# Before vllm is imported anywhere.
ENGINE_ENVIRONMENT = {
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
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_TARGET_DEVICE": "cpu",
}
for name, value in ENGINE_ENVIRONMENT.items():
    os.environ.setdefault(name, value)

import engine  # noqa: E402
from process import Kvgated  # noqa: E402


class Daemon(Kvgated):
    """A kvgated whose socket paths are short and whose data outlives it."""

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ensure_alive(self) -> None:
        if not self.alive():
            self.start()
        self.signal(signal.SIGCONT)

    def freeze(self) -> None:
        """SIGSTOP, and returns once it is obeyed. ensure_alive ends it."""
        self.signal(signal.SIGSTOP)
        engine.wait_stopped(self.pid)

    def restart(self) -> None:
        """SIGKILL, and up again: what was in memory only is gone."""
        self.kill()
        self.start()


@pytest.fixture(scope="session")
def daemon_process() -> Iterator[Daemon]:
    folder = Path(tempfile.mkdtemp(prefix="kvg."))
    data = folder / "d"
    data.mkdir()
    daemon = Daemon(data, "--memory=512MiB", "--disk=2GiB", "--metrics=off")
    daemon.start()
    yield daemon
    daemon.signal(signal.SIGCONT)
    daemon.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def daemon(daemon_process: Daemon) -> Iterator[Daemon]:
    daemon_process.ensure_alive()
    yield daemon_process
    daemon_process.ensure_alive()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    import models

    folder = tmp_path_factory.mktemp("tiny")
    models.make_model(folder, "tiny", [Path(models.__file__).read_text()])
    return str(folder)
