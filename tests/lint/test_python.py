# SPDX-License-Identifier: Apache-2.0
"""Python by ruff everywhere, and typed where other people import it (settings: pyproject.toml)."""

import subprocess
import sys

import pytest
import sources


def _run(*tool):
    return subprocess.run(
        [sys.executable, "-m", *tool], cwd=sources.ROOT, capture_output=True, text=True
    )


def _python_files():
    return [str(path) for path in sources.files(".py")]


def test_python_passes_ruff():
    check = _run("ruff", "check", "--no-cache", "--output-format=concise", *_python_files())
    assert check.returncode == 0, check.stdout + check.stderr


def test_python_is_formatted():
    check = _run(
        "ruff", "format", "--no-cache", "--check", "--output-format=concise", *_python_files()
    )
    assert check.returncode == 0, "run ./dev format\n" + check.stdout + check.stderr


@pytest.mark.skipif(not (sources.ROOT / "client/python/kvgate").exists(), reason="no package yet")
def test_the_python_package_is_typed():
    check = _run("mypy", "--cache-dir=/dev/null", "--no-error-summary")
    assert check.returncode == 0, check.stdout + check.stderr
