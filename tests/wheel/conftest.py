# SPDX-License-Identifier: Apache-2.0
"""The wheel, built once, and a fresh environment with nothing but it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import harness  # noqa: E402


def pytest_configure(config):
    for name in ("KVGATED", "KVGATE_LIB", "KVGATE_GRPC_LIB"):
        if not os.environ.get(name):
            pytest.exit(f"{name} names nothing that was built: run ./dev test wheel", returncode=1)


@pytest.fixture(scope="session")
def wheel():
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([ROOT / "client/python/build_wheel.sh"], env=environment, check=True)
    (built,) = (ROOT / "dist").glob("kvgate-*.whl")
    return built


@pytest.fixture(scope="session")
def fresh_python(wheel, tmp_path_factory):
    """The interpreter of an environment that holds the wheel and no other package."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, check=True, env=clean_environment())
    return python


def clean_environment() -> dict[str, str]:
    """Nothing that would lead to the libraries or the package in this tree."""
    hidden = ("KVGATE", "PYTHONPATH", "LD_")
    return {k: v for k, v in os.environ.items() if not k.startswith(hidden)}


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    one = harness.Daemon(tmp_path_factory.mktemp("w") / "data", *harness.SMALL).start()
    yield one
    one.kill()
