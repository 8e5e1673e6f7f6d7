# SPDX-License-Identifier: Apache-2.0
"""Fixtures: daemons that end with the test, and clients of them."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
import hung_device


def pytest_configure(config):
    if not os.environ.get("KVGATED"):
        pytest.exit("KVGATED does not name a daemon: run ./dev test integration", returncode=1)


@pytest.fixture(scope="session", autouse=True)
def stubs(tmp_path_factory):
    harness.generate_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    item.failed = outcome.get_result().failed


def _print_logs(request, daemons):
    if getattr(request.node, "failed", False):
        for daemon in daemons:
            print(f"--- {daemon.log}\n{daemon.text()}")


def _short_folder(tmp_path_factory, name):
    # Socket paths end at 107 bytes; pytest's own folders are named after the test.
    return tmp_path_factory.mktemp(name)


@pytest.fixture
def start(request, tmp_path_factory):
    """start(*flags) -> a running daemon of this test; start.folder is where they live."""
    folder = _short_folder(tmp_path_factory, "d")
    daemons = []

    def start_one(*flags, data_dir=None, wrapper=()):
        flags = flags or harness.SMALL
        data_dir = data_dir or folder / str(len(daemons))
        daemon = harness.Daemon(data_dir, *flags, wrapper=wrapper)
        daemons.append(daemon)
        return daemon.start()

    start_one.folder = folder
    yield start_one
    _print_logs(request, daemons)
    for daemon in daemons:
        daemon.kill()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all tests of a module that leave it as it was."""
    one = harness.Daemon(_short_folder(tmp_path_factory, "m") / "data", *harness.SMALL).start()
    yield one
    one.kill()


@pytest.fixture
def client(daemon):
    """A client of `daemon` with the usual namespace open."""
    one = daemon.client()
    one.open()
    yield one
    one.channel.close()


@pytest.fixture
def device(tmp_path):
    """A device for start(*hung_device.FLAGS, wrapper=device.wrapper)."""
    one = hung_device.Device(tmp_path)
    yield one
    one.come_back()
