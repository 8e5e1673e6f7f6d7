# SPDX-License-Identifier: Apache-2.0
"""Daemon and worker in pods of their own, as on Kubernetes: they share one directory, no more.

pod.py says what a pod denies. Neither sees the other's processes, files or network.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import harness
import pod
import pod_client
import pytest
from client_world import eventually

HERE = Path(__file__).resolve().parent
SHARED = "/mnt"
ALL_RIGHT = {"right": pod_client.COUNT, "missed": 0, "wrong": 0}
ALL_MISSED = {"right": 0, "missed": pod_client.COUNT, "wrong": 0}
CGROUP_BYTES = 512 << 20


class Worker:
    """pod_client.py in its pod; `ask` is one call of it."""

    def __init__(self, daemon: harness.Daemon) -> None:
        options = (f"--errno={errno.EPERM}", f"--see={daemon.run_dir}={SHARED}")
        options += (f"--hide={daemon.data_dir.parent}",)
        command = (sys.executable, str(HERE / "pod_client.py"), f"{SHARED}/local.sock")
        self._process = subprocess.Popen(
            [*pod.wrapper(*options), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{harness.ROOT}/client/python:{HERE}"},
        )

    def ask(self, what: str):
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=harness.HANG_S)
        self._process.stdout.close()


@pytest.fixture
def start_pod(start):
    """start_pod(*options) -> a daemon in a pod of its own."""

    def begin(*options, number=errno.EPERM, data_dir=None):
        wrapper = pod.wrapper(f"--errno={number}", *options)
        return start(*harness.SMALL, "--log-level=info", wrapper=wrapper, data_dir=data_dir)

    return begin


@pytest.fixture
def work(request):
    """work(daemon) -> a worker with a namespace open."""

    def begin(daemon):
        worker = Worker(daemon)
        request.addfinalizer(worker.end)
        assert worker.ask("open") == {"error": ""}
        return worker

    return begin


@pytest.fixture
def cgroup():
    """A memory cgroup below our own, of cgroup v1 or v2."""
    one = _make_cgroup()
    if one is None:
        pytest.skip("no memory cgroup can be made here: not root, or cgroups are read only")
    yield one
    # After the daemon of a failed test: the fixtures that start one come later, so end earlier.
    eventually(lambda: not (one / "cgroup.procs").read_text())
    one.rmdir()


def _make_cgroup() -> Path | None:
    name = f"kvgate-test-{os.getpid()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            own, limit = Path(f"/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"
        elif not controllers:
            own, limit = Path(f"/sys/fs/cgroup{path}"), "memory.max"
        else:
            continue
        # In a container the path may be the host's; what is mounted is then the container's root.
        parent = own if own.is_dir() else Path(*own.parts[: 5 if controllers else 4])
        try:
            (parent / name).mkdir()
        except OSError:
            continue
        try:
            (parent / name / limit).write_text(str(CGROUP_BYTES))
            return parent / name
        except OSError:
            (parent / name).rmdir()
    return None


def kill_daemon(daemon) -> None:
    """SIGKILL to kvgated itself, which is pid 1 in its pod."""
    os.kill(pod.init_pid(daemon.pid), signal.SIGKILL)
    daemon.wait(harness.HANG_S)


def namespaces_of(pid: int) -> dict[str, str]:
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("pid", "mnt", "net", "user")}


def test_pods_share_a_directory_and_nothing_else(start_pod, work):
    daemon = start_pod()
    about = work(daemon).ask("about")
    assert (about["pid"], about["uid"]) == (1, 0)
    inside = namespaces_of(pod.init_pid(daemon.pid))
    for name, here in namespaces_of(os.getpid()).items():
        assert len({here, inside[name], about["namespaces"][name]}) == 3, name


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
def test_denied_io_uring_makes_the_engine_posix(start_pod, number):
    daemon = start_pod(number=number)
    assert re.search(r"store open .* by posix$", daemon.text(), flags=re.MULTILINE), daemon.text()
    limits = Path(f"/proc/{pod.init_pid(daemon.pid)}/limits").read_text()
    assert re.search(rf"Max locked memory +{pod.MEMLOCK_BYTES} ", limits)


def test_a_killed_daemon_makes_misses_and_a_new_pod_has_its_blocks(start_pod, work):
    daemon = start_pod()
    worker = work(daemon)
    assert worker.ask("set") == {"OK": pod_client.COUNT}
    assert worker.ask("get") == ALL_RIGHT
    assert worker.ask("about")["transport"] == "local"
    kill_daemon(daemon)
    assert worker.ask("get") == ALL_MISSED
    daemon.start()
    eventually(lambda: worker.ask("get") == ALL_RIGHT)


def test_sigterm_ends_a_daemon_that_is_pid_1(start_pod, work):
    daemon = start_pod()
    assert work(daemon).ask("set") == {"OK": pod_client.COUNT}
    os.kill(pod.init_pid(daemon.pid), signal.SIGTERM)
    daemon.wait(harness.HANG_S)
    assert daemon.stop() == 0
    assert daemon.text().splitlines()[-1] == "kvgated stopped"


def test_a_full_pool_fits_into_the_memory_cgroup(cgroup, start_pod, work):
    """More than the pool holds is stored; the page cache counts too."""
    daemon = start_pod(f"--cgroup={cgroup}")
    worker = work(daemon)
    client = daemon.client()
    client.open()
    for batch in range(10):
        names = [f"fill-{batch}-{i}".encode() for i in range(32)]
        client.set({name: harness.value_of(name, 1 << 20) for name in names})
    assert worker.ask("set") == {"OK": pod_client.COUNT}
    assert worker.ask("get") == ALL_RIGHT
    pids = (cgroup / "cgroup.procs").read_text().split()
    assert str(pod.init_pid(daemon.pid)) in pids
    kill_daemon(daemon)
