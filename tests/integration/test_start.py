# SPDX-License-Identifier: Apache-2.0
"""Starting: configuration, and start-up errors of one line that say what to do."""

import os
import re
import shlex
import socket
import subprocess

import harness
import pytest
from harness import ROOT, crc32c

# Errors that another start alone cannot mend.
CONFIGURATION = (101, 102, 103, 104, 105, 106, 107, 109, 112, 113, 114, 115, 116, 123)


def run(*flags, env=None):
    """A daemon that should not come up: its exit status and what it said."""
    done = subprocess.run(
        [os.environ["KVGATED"], *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=harness.HANG_S,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout, done.stderr


def fails(*flags, env=None):
    """The one line with which a start failed: `config check` knew it, or could not know."""
    status, _, said = run(*flags, env=env)
    errors = [line for line in said.splitlines() if line.startswith("kvgated error: ")]
    assert len(errors) == 1 and said.splitlines()[-1] == errors[0], said
    number = re.search(r" \[KVG(1\d\d)\]$", errors[0])
    assert number, errors[0]
    assert status == (78 if int(number[1]) in CONFIGURATION else 1), said
    return errors[0]


@pytest.fixture
def folder(start):
    return start.folder


def test_version_names_program_wire_and_disk_format():
    status, said, _ = run("--version")
    header = (ROOT / "storage/log/format.h").read_text()
    disk = header.split("kFormatVersion = ")[1].split(";")[0]
    version = (ROOT / "VERSION").read_text().strip()
    assert status == 0
    assert said == f"kvgated {version} (wire kvgate.v1, disk format {disk})\n"


def test_help_names_every_flag():
    status, said, _ = run("--help")
    assert status == 0
    for flag in ("data-dir", "memory", "disk", "run-dir", "grpc-tcp", "metrics", "config"):
        assert f"--{flag}" in said


def test_only_a_data_directory_is_needed(start):
    daemon = start("--log-level=info", data_dir=start.folder / "only")
    assert daemon.ready["grpc"].endswith("run/grpc.sock")
    assert "limit sum" in daemon.text()


def test_no_data_directory():
    assert "--data-dir" in fails()


def test_unknown_flag(folder):
    said = fails("--data-dir", folder / "x", "--memroy=1GiB")
    assert "unknown flag --memroy; the nearest one is --memory" in said


def test_a_refused_variable_is_named(folder):
    (folder / "file").touch()
    said = fails("--data-dir", folder / "x", env={"KVGATE_RUN_DIR": str(folder / "file")})
    assert f"KVGATE_RUN_DIR from the environment: {folder}/file: is not a directory" in said


def test_a_refused_line_of_the_file_is_named(folder):
    config = folder / "kvgate.yaml"
    config.write_text(f"memory: 64MiB\ndata_dir: {folder}/x\nrun_dir: {config}\n")
    assert f"{config} line 3: run_dir: {config}: is not a dir" in fails("--config", config)


def test_memory_above_what_there_is_is_said(start):
    daemon = start("--memory=900TiB", "--disk=1GiB", "--staging-bytes=16MiB")
    assert "--memory: 900TiB is above" in daemon.text()


def test_bad_size_names_flag_and_value(folder):
    said = fails("--data-dir", folder / "x", "--memory=lots")
    assert "--memory" in said and '"lots"' in said


def test_memory_too_small_names_the_limit(folder):
    said = fails("--data-dir", folder / "x", "--memory=1MiB")
    assert "--memory" in said and "1MiB" in said and "16MiB" in said


def test_flag_beats_environment_beats_file(start):
    config = start.folder / "kvgate.yaml"
    config.write_text("memory: 300MiB\nflush_delay_ms: 5\ndisk: 0\ntenants: [default, blue]\n")
    run_ = harness.Daemon(start.folder / "c", f"--config={config}", "--memory=96MiB")
    os.environ["KVGATE_MEMORY"] = "64MiB"
    os.environ["KVGATE_STAGING_BYTES"] = "16MiB"
    try:
        run_.start()
        assert "limit memory pool 80MiB" in run_.text()
        assert (run_.run_dir / "grpc-blue.sock").exists()
    finally:
        del os.environ["KVGATE_MEMORY"], os.environ["KVGATE_STAGING_BYTES"]
        run_.kill()


def test_unknown_key_names_the_nearest(folder):
    config = folder / "kvgate.yaml"
    config.write_text("memroy: 1GiB\n")
    said = fails("--data-dir", folder / "x", "--config", config)
    assert '"memroy"' in said and '"memory"' in said


def test_config_file_that_is_not_there(folder):
    said = fails("--data-dir", folder / "x", "--config", folder / "absent.yaml")
    assert "absent.yaml: does not exist (named by --config); make it" in said


def test_socket_of_a_running_daemon(start):
    daemon = start()
    said = fails("--data-dir", start.folder / "other", "--run-dir", daemon.run_dir)
    assert "in use" in said and "--run-dir" in said
    assert daemon.client().open().namespace


def test_data_directory_of_a_running_daemon(start):
    daemon = start()
    said = fails("--data-dir", daemon.data_dir, "--run-dir", start.folder / "run2")
    assert str(daemon.data_dir) in said
    assert daemon.client().open().namespace


def test_socket_of_a_dead_daemon_is_replaced(start):
    daemon = start()
    daemon.kill()
    assert (daemon.run_dir / "grpc.sock").exists()
    daemon.start()
    assert daemon.client().open().namespace


def test_file_in_the_place_of_a_socket(folder):
    (folder / "run").mkdir()
    (folder / "run" / "grpc.sock").write_text("precious")
    said = fails("--data-dir", folder / "x", "--run-dir", folder / "run")
    assert "is no socket" in said
    assert (folder / "run" / "grpc.sock").read_text() == "precious"


def test_tcp_port_in_use(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = fails("--data-dir", folder / "x", f"--grpc-tcp={address}", *harness.SMALL)
        assert address in said
        said = fails("--data-dir", folder / "y", f"--metrics={address}", *harness.SMALL)
        assert address in said and "--metrics" in said


def test_socket_path_too_long(folder):
    said = fails("--data-dir", folder / "x", "--run-dir", folder / ("long" * 30))
    assert "107" in said and "--run-dir" in said


def test_no_space(folder):
    said = fails("--data-dir", folder / "x", "--disk=900TiB")
    assert "no space" in said and "--disk" in said


def test_foreign_data_directory(folder):
    (folder / "foreign").mkdir()
    (folder / "foreign" / "thesis.tex").write_text("precious")
    said = fails("--data-dir", folder / "foreign")
    assert "thesis.tex" in said and "empty directory" in said
    assert sorted(path.name for path in (folder / "foreign").iterdir()) == ["thesis.tex"]


def test_data_file_that_is_not_ours(folder):
    (folder / "fake").mkdir()
    (folder / "fake" / "kvgate.data").write_bytes(b"precious" * (1 << 20))
    said = fails("--data-dir", folder / "fake", *harness.SMALL)
    assert "kvgate.data" in said
    assert (folder / "fake" / "kvgate.data").read_bytes()[:8] == b"precious"


def test_wrong_owner(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", 12345, 12345)
    said = fails("--data-dir", folder / "theirs")
    assert "12345" in said and "chown" in said


def test_future_format(start):
    daemon = start()
    daemon.stop()
    raise_format_version(daemon.data_dir / "kvgate.data")
    said = fails("--data-dir", daemon.data_dir, *harness.SMALL)
    assert "kvgate.data" in said and "format 99" in said
    assert "kvgated --data-dir ANOTHER" in said and said.endswith("[KVG114]")
    before = (daemon.data_dir / "kvgate.data").read_bytes()
    fails("--data-dir", daemon.data_dir, *harness.SMALL)
    assert (daemon.data_dir / "kvgate.data").read_bytes() == before
    # The way out that it names is one.
    command = shlex.split(re.search(r"\((rm [^)]+)\)", said)[1])
    assert command == ["rm", str(daemon.data_dir / "kvgate.data")]
    subprocess.run(command, check=True)
    daemon.start()
    assert daemon.client().open().namespace


def raise_format_version(path):
    """Rewrites the superblocks as a later version would have written them (docs/formats.md)."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        for at in (0, 64 << 10, size - (128 << 10), size - (64 << 10)):
            file.seek(at)
            page = bytearray(file.read(4096))
            assert page[:8] == b"KVGATESB", page[:16]
            page[8:12] = (99).to_bytes(4, "little")
            page[-4:] = crc32c(bytes(page[:-4])).to_bytes(4, "little")
            file.seek(at)
            file.write(page)
