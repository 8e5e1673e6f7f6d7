# SPDX-License-Identifier: Apache-2.0
"""./dev install into a folder; the daemon runs there as its unit says."""

import re
import signal
import stat
import subprocess
from pathlib import Path

import harness
import pytest
import yaml
from harness import CHANNEL_OPTIONS, pb, value_of
from service_unit import Manager, Unit, install

_UNIT = "lib/systemd/system/kvgated.service"
_EXPOSURE_MAX = 3.0
_FILES = {
    "bin/kvgate": 0o755,
    "bin/kvgated": 0o755,
    "etc/kvgate/kvgate.yaml": 0o644,
    "include/kvgate.h": 0o644,
    "lib/libkvgate.so": 0o644,
    "lib/libkvgate_grpc.so": 0o644,
    _UNIT: 0o644,
    "lib/sysusers.d/kvgate.conf": 0o644,
    "lib/tmpfiles.d/kvgate.conf": 0o644,
    "share/bash-completion/completions/kvgate": 0o644,
    "share/fish/vendor_completions.d/kvgate.fish": 0o644,
    "share/man/man1/kvgate.1": 0o644,
    "share/man/man5/kvgate.yaml.5": 0o644,
    "share/man/man8/kvgated.8": 0o644,
    "share/zsh/site-functions/_kvgate": 0o644,
}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("i") / "kvgate"
    install(folder)
    return folder


@pytest.fixture(scope="module")
def unit(prefix):
    return Unit(prefix / _UNIT)


@pytest.fixture
def manager(unit, tmp_path_factory):
    one = Manager(unit, tmp_path_factory.mktemp("m"))
    yield one
    one.close()


def defaults_of_the_page():
    """By key; that the page names every flag is shown elsewhere."""
    page = (harness.ROOT / "docs/config.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.+?) \|", page, flags=re.MULTILINE)
    return {flag.replace("-", "_"): default for flag, default in rows}


def lines_with_defaults(config):
    """The shipped configuration with every default written out."""
    return re.sub(r"^#(?=[a-z_]+:)", "", config.read_text(), flags=re.MULTILINE)


def test_everything_is_in_its_place_and_nothing_else(prefix):
    files = {str(p.relative_to(prefix)): p for p in prefix.rglob("*") if p.is_file()}
    assert {name: stat.S_IMODE(path.stat().st_mode) for name, path in files.items()} == _FILES
    empty = [name for name, path in files.items() if path.stat().st_size == 0]
    assert not empty


def test_a_second_installation_keeps_the_configuration(tmp_path):
    install(tmp_path)
    config = tmp_path / "etc/kvgate/kvgate.yaml"
    shipped = config.read_text()
    config.write_text("data_dir: /mine\n")
    said = install(tmp_path)
    assert config.read_text() == "data_dir: /mine\n"
    assert config.with_name("kvgate.yaml.new").read_text() == shipped
    assert "left as it is" in said


def test_the_folder_of_a_package_is_in_no_file(tmp_path):
    install("/usr", f"--destdir={tmp_path}")
    unit = Unit(tmp_path / "usr" / _UNIT)
    assert unit.one("ExecStart") == "/usr/bin/kvgated --config /etc/kvgate/kvgate.yaml"
    config = yaml.safe_load((tmp_path / "etc/kvgate/kvgate.yaml").read_text())
    # As the unit makes them: RuntimeDirectory= and StateDirectory= are below these.
    assert config["run_dir"] == f"/run/{unit.one('RuntimeDirectory')}"
    assert config["data_dir"] == [f"/var/lib/{unit.one('StateDirectory')}"]
    made = re.findall(
        r"^d (\S+) 0750 kvgate kvgate -$",
        (tmp_path / "usr/lib/tmpfiles.d/kvgate.conf").read_text(),
        flags=re.MULTILINE,
    )
    assert sorted(made) == ["/run/kvgate", "/var/lib/kvgate"]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes(), path


def test_a_prefix_that_a_unit_cannot_name_is_refused():
    command = [harness.ROOT / "dev", "install", "--built", "--prefix=/a b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--prefix /a b: must be an absolute path of" in done.stderr


def test_help_is_given():
    command = [harness.ROOT / "dev", "install", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(flag in done.stdout for flag in ("--prefix", "--destdir", "--built"))


def test_a_wrong_configuration_is_not_started_again(unit, manager):
    process = manager.start(KVGATE_MEMORY="lots")
    assert process.wait(timeout=harness.HANG_S) == int(unit.one("RestartPreventExitStatus"))
    assert "KVGATE_MEMORY from the environment" in manager.text()


def test_the_daemon_runs_as_the_unit_says(prefix, unit, manager):
    assert unit.one("ExecStart").startswith(f"{prefix}/bin/kvgated ")
    process = manager.start(WATCHDOG_USEC="300000", KVGATE_MEMORY="256MiB", KVGATE_DISK="1GiB")
    assert manager.told()["STATUS"].startswith("starting")
    ready = manager.told()
    assert ready["READY"] == "1"
    target = re.search(r"grpc=(\S+)", ready["STATUS"])[1]
    assert target == f"{prefix}/run/kvgate/grpc.sock"
    assert [manager.told() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
    with harness.grpc.insecure_channel(f"unix:{target}", options=CHANNEL_OPTIONS) as channel:
        use(harness.Client(channel))
    walk(prefix / "var/lib/kvgate", prefix / "run/kvgate")

    process.send_signal(signal.SIGTERM)
    stopping = manager.told_with("STOPPING")
    config = yaml.safe_load(lines_with_defaults(prefix / "etc/kvgate/kvgate.yaml"))
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > (config["drain_ms"] + slack_ms()) * 1000
    assert process.wait(timeout=harness.HANG_S) == 0, manager.text()
    walk(prefix / "var/lib/kvgate", prefix / "run/kvgate")


def use(client):
    client.open()
    keys = [f"installed-{i}".encode() for i in range(4)]
    values = {key: value_of(key, 2 << 20) for key in keys}
    client.set(values, durability=pb().DURABILITY_LOGGED)
    assert list(client.get(keys).values) == list(values.values())


def walk(*folders):
    """What the daemon made is for its own account; sockets are guarded by their directory."""
    wrong, files = [], 0
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISSOCK(mode):
                continue
            most = 0o750 if stat.S_ISDIR(mode) else 0o600
            files += stat.S_ISREG(mode)
            if stat.S_IMODE(mode) & ~most:
                wrong.append(f"{path}: {stat.filemode(mode)}")
    assert not wrong, "\n".join(wrong)
    assert files > 5


def test_every_call_of_the_daemon_passes_the_filter(unit, manager, tmp_path):
    trace = tmp_path / "trace"
    # -D: the daemon itself is our child, and strace ends with it.
    process = manager.start(
        ("strace", "-D", "-f", "-qq", "-o", str(trace)),
        WATCHDOG_USEC="300000",
        KVGATE_MEMORY="256MiB",
        KVGATE_DISK="1GiB",
        KVGATE_GRPC_TCP="0",
    )
    target = re.search(r"grpc=(\S+)", manager.told_with("READY")["STATUS"])[1]
    with harness.grpc.insecure_channel(f"unix:{target}", options=CHANNEL_OPTIONS) as channel:
        use(harness.Client(channel))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=harness.HANG_S) == 0, manager.text()
    lines = trace.read_text(errors="replace").splitlines()
    called = {found[1] for line in lines if (found := re.match(r"\d+ +([a-z]\w*)\(", line))}
    assert {"io_uring_enter", "memfd_create", "fdatasync", "sendto"} <= called
    assert called - unit.system_calls() == set()


def test_a_device_that_hangs_does_not_silence_the_watchdog(manager, device):
    """A restart would not heal it, and would lose what is in memory."""
    process = manager.start(
        device.wrapper,
        WATCHDOG_USEC="300000",
        KVGATE_MEMORY="256MiB",
        KVGATE_DISK="1GiB",
        KVGATE_IO_ENGINE="posix",
    )
    target = re.search(r"grpc=(\S+)", manager.told_with("READY")["STATUS"])[1]
    with harness.grpc.insecure_channel(f"unix:{target}", options=CHANNEL_OPTIONS) as channel:
        client = harness.Client(channel)
        client.open()
        device.hang()
        entry = pb().SetEntry(key=b"stuck", value_bytes=5000)
        request = pb().SetRequest(
            namespace=client.ns,
            entries=[entry],
            values=[value_of(b"stuck", 5000)],
            durability=pb().DURABILITY_LOGGED,
        )
        call = client.rpc.Set.future(request, timeout=harness.HANG_S)
        device.wait_until_hit()
        manager.drain()
        assert [manager.told() for _ in range(5)] == [{"WATCHDOG": "1"}] * 5
        device.come_back()
        assert call.result().results[0].state == pb().SET_STATE_STORED
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=harness.HANG_S) == 0, manager.text()


def test_a_reload_is_told(unit, manager):
    process = manager.start(KVGATE_MEMORY="256MiB", KVGATE_DISK="1GiB")
    ready = manager.told_with("READY")
    assert unit.one("ExecReload") == "/bin/kill -HUP $MAINPID"
    process.send_signal(signal.SIGHUP)
    assert manager.told()["RELOADING"] == "1"
    assert manager.told() == ready
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=harness.HANG_S) == 0, manager.text()


def slack_ms():
    header = (harness.ROOT / "gateway/stop_guard.h").read_text()
    return int(re.search(r"kStopSlack = absl::Seconds\((\d+)\)", header)[1]) * 1000


def test_systemd_waits_longer_than_the_stop_takes(prefix, unit):
    config = yaml.safe_load(lines_with_defaults(prefix / "etc/kvgate/kvgate.yaml"))
    assert unit.seconds("TimeoutStopSec") * 1000 > config["drain_ms"] + slack_ms()


def test_the_unit_never_swaps_and_always_comes_back(unit):
    wanted = {
        "Type": "notify",
        "MemorySwapMax": "0",
        "LimitMEMLOCK": "infinity",
        "RestartSec": "100ms",
        "StartLimitIntervalSec": "0",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "78",  # a wrong configuration: test_start.py
    }
    assert {key: unit.one(key) for key in wanted} == wanted
    assert unit.seconds("WatchdogSec") > 0
    assert int(unit.one("LimitNOFILE")) >= 65536
    assert int(unit.one("OOMScoreAdjust")) > 0


def test_systemd_takes_the_unit_without_a_word(unit):
    command = ["systemd-analyze", "verify", "--man=no", unit.path]
    said = subprocess.run(command, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_exposure_is_small(unit):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit.path]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
    open_points = "\n".join(line for line in said.splitlines() if line.startswith("✗"))
    print(f"exposure {exposure}, at most {_EXPOSURE_MAX}\n{open_points}")
    assert exposure <= _EXPOSURE_MAX, open_points


def test_the_account_is_made_by_sysusers(prefix, tmp_path):
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", prefix / "lib/sysusers.d/kvgate.conf"]
    subprocess.run(command, check=True, capture_output=True)
    account = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^kvgate:x:\d+:\d+:KV-cache gateway:\S+/var/lib/kvgate:\S*nologin$", account)


def test_the_configuration_has_every_setting(prefix):
    config = prefix / "etc/kvgate/kvgate.yaml"
    assert set(yaml.safe_load(lines_with_defaults(config))) == set(defaults_of_the_page())


def test_the_defaults_that_are_written_are_the_defaults(prefix):
    """A default that is found at the start is told in words, above an example."""
    text = (prefix / "etc/kvgate/kvgate.yaml").read_text()
    written = re.findall(r"((?:^# .*\n)*)#([a-z_]+): \[?(.+?)\]?$", text, flags=re.MULTILINE)
    page = defaults_of_the_page()
    wrong = []
    for comment, key, value in written:
        words = " ".join(line.lstrip("# ") for line in comment.splitlines())
        if value != page[key] and f"Default: {page[key]}." not in words:
            wrong.append(f"{key}: {value}, and not {page[key]}")
    assert len(written) >= 14
    assert not wrong, "\n".join(wrong)


def test_the_daemon_takes_every_written_default(prefix, start):
    config = start.folder / "all.yaml"
    text = lines_with_defaults(prefix / "etc/kvgate/kvgate.yaml")
    config.write_text(text.replace(str(prefix), str(start.folder)))
    start(f"--config={config}", *harness.SMALL, f"--run-dir={start.folder}/0/run")


@pytest.mark.parametrize("page", ["man1/kvgate.1", "man5/kvgate.yaml.5", "man8/kvgated.8"])
def test_manual_pages_are_well_formed(prefix, page):
    command = ["groff", "-mandoc", "-Tutf8", "-ww", "-z", prefix / "share/man" / page]
    said = subprocess.run(command, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_manual_names_every_setting_and_its_default(prefix):
    page = (prefix / "share/man/man5/kvgate.yaml.5").read_text()
    items = dict(re.findall(r"^\.It Li ([a-z_]+)\n(.*?)(?=^\.It|^\.El)", page, re.M | re.S))
    assert set(items) == set(defaults_of_the_page())
    wrong = []
    for key, default in defaults_of_the_page().items():
        text = " ".join(items[key].split()).replace(".Pa run in the", "`run` in the")
        if default != "required" and f"Default: {default}." not in text:
            wrong.append(f"{key}: {default}")
    assert not wrong


def test_the_manual_names_every_command(prefix):
    said = subprocess.run([prefix / "bin/kvgate", "--help"], capture_output=True, text=True).stdout
    commands = set(re.findall(r"^  ([a-z]+) ", said.split("Subcommands:")[1], re.M))
    page = (prefix / "share/man/man1/kvgate.1").read_text()
    assert commands == set(re.findall(r"^\.It Cm ([a-z]+)", page, re.M))


def test_bash_completes_the_installed_program(prefix):
    script = 'source "$1"; COMP_WORDS=(kvgate exp); COMP_CWORD=1; _kvgate; echo "${COMPREPLY[@]}"'
    completions = Path(prefix, "share/bash-completion/completions/kvgate")
    command = ["bash", "-c", script, "-", completions]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "explain\n"
