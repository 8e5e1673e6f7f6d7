# SPDX-License-Identifier: Apache-2.0
"""The program `kvgate` against a real daemon: what it says, and its exit status."""

import json
import os
import subprocess

import harness
import pytest
from harness import pb

DONE, ABSENT, USAGE, UNREACHABLE, REFUSED = range(5)


class Cli:
    def __init__(self, daemon: harness.Daemon | None, *options: str) -> None:
        place = f"--run-dir={daemon.run_dir if daemon else '/nowhere'}"
        self._start = [os.environ["KVGATE_CLI"], place, *options]

    def __call__(self, *words: str, status: int = DONE, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [*self._start, *words], input=stdin, capture_output=True, timeout=harness.HANG_S
        )
        said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        assert done.returncode == status, said
        return said

    def json(self, *words: str, status: int = DONE):
        return json.loads(self("--json", *words, status=status))


@pytest.fixture(scope="module")
def cli(daemon):
    return Cli(daemon)


def test_ping_names_the_version(cli):
    assert "answers in" in cli("ping")
    assert cli.json("ping")["disk_mode"] in ("direct", "buffered")


def test_a_value_is_set_read_looked_up_and_deleted(cli, tmp_path):
    value = os.urandom(300_000)
    file = tmp_path / "value"
    file.write_bytes(value)
    assert "ok" in cli("set", "k1", str(file))
    out = tmp_path / "out"
    cli("get", "k1", "--output", str(out))
    assert out.read_bytes() == value
    assert cli.json("get", "k1")["value_bytes"] == len(value)
    assert cli.json("lookup", "k1", "k2")["held"] == 1
    assert cli.json("del", "k1", "k2") == {"deleted": 1, "asked": 2}
    assert "miss" in cli("get", "k1", status=ABSENT)


def test_a_value_comes_from_stdin_and_is_replaced_only_when_asked(cli):
    cli("set", "k3", "-", stdin=b"first")
    assert "already_held" in cli("set", "k3", "--value", "second")
    assert cli("get", "k3") == "first"
    cli("set", "k3", "--value", "second", "--overwrite")
    assert cli("get", "k3") == "second"


def test_keys_may_be_given_in_hex(cli):
    cli("set", "--hex", "00ff", "--value", "x")
    rows = cli.json("scan", "--limit", "1000")
    assert "0x00ff" in {row["key"] for row in rows}
    assert "hex digits" in cli("get", "--hex", "0f0", status=USAGE)


def test_explain_says_what_became_of_a_key(cli):
    cli("set", "k4", "--value", "v", "--ttl-s", "1000")
    assert cli.json("explain", "k4")["reason"] == "held"
    cli("del", "k4")
    gone = cli.json("explain", "k4", status=ABSENT)
    assert gone["reason"] == "deleted"
    never = cli.json("explain", "never", status=ABSENT)
    assert never["reason"] == "never_stored"
    assert "to do: " in "\n".join(never["lines"])


def test_explain_names_the_field_in_which_identities_differ(daemon, cli):
    for dtype, alias in (("float16", "a"), ("bfloat16", "b")):
        client = daemon.client()
        client.open(alias=alias, dtype=dtype)
        if alias == "a":
            client.set({b"k5": b"v"})
        client.channel.close()
    said = cli.json("--ns", "b", "explain", "k5", status=ABSENT)
    assert said["reason"] == "other_identity"
    text = "\n".join(said["lines"])
    assert "dtype" in text and "bfloat16" in text and "alias a" in text


def test_a_namespace_may_be_named_by_alias_or_digest_and_not_by_chance(daemon, cli):
    client = daemon.client()
    client.open(alias="named")
    client.set({b"k6": b"of the engine"})
    client.channel.close()
    assert cli("--ns", "named", "get", "k6") == "of the engine"
    digest = next(
        row["identity_digest"]
        for row in cli.json("stats")["namespaces"]
        if "named" in row["aliases"]
    )
    assert cli("--ns", digest[:12], "get", "k6") == "of the engine"
    assert "choose one of" in cli("--ns", "none such", "get", "k6", status=REFUSED)


def test_stats_and_top_show_counters(cli):
    cli("set", "k7", "--value", "v")
    cli("get", "k7")
    stats = cli.json("stats")
    assert stats["counters"]["get_hits_memory_total"] >= 1
    assert "kvgate-cli" in cli("stats", "--namespaces")
    lines = "\n".join(cli.json("top", "-n", "1", "--interval-ms", "50"))
    assert "lookup" in lines and "memory" in lines


def test_requests_tell_bytes_a_token(daemon, cli):
    """Memory a token = 2 (K and V) x layers x KV heads x head dimension x bytes an element."""
    layers, kv_heads, head_dim, element = 16, 4, 64, 2
    a_token = 2 * layers * kv_heads * head_dim * element
    client = daemon.client()
    client.open(model="demo-shape")
    tokens = harness.make_identity().groups[0].block_tokens
    chain = {f"r{i}".encode(): os.urandom(a_token * tokens) for i in range(3)}
    client.set(chain)
    hints = pb().Hints(prompt_tokens=3 * tokens, output_tokens=5, turn=2)
    touch = pb().TouchRequest(namespace=client.ns, last_key=list(chain)[-1], hints=hints)
    client.rpc.Touch(touch, timeout=harness.HANG_S)
    client.channel.close()
    rows = cli.json("stats", "--per-request")
    mine = next(row for row in rows if row["model"] == "demo-shape")
    assert mine["blocks"] == 3 and mine["tokens"] == 3 * tokens
    assert mine["bytes_a_token"] == a_token
    assert mine["prompt_tokens"] == 3 * tokens and mine["turn"] == 2


def test_bench_checks_every_byte_and_leaves_nothing(cli):
    result = cli.json("bench", "--blocks", "8", "--block-bytes", "65536", "--rounds", "2")
    assert result["bytes_right"] and result["hits"] == result["asked"] == 16
    assert not [row for row in cli.json("scan", "--limit", "1000") if "kvgate-bench" in row["key"]]


def test_doctor_has_a_word_for_each_point(daemon, cli):
    rows = {row["name"]: row for row in cli.json("doctor", "--data-dir", str(daemon.data_dir))}
    names = {"gateway", "kernel", "cpu", "io_uring", "memlock", "cgroup_memory", "swap"}
    names |= {"huge_pages", "numa", "disk_scheduler", "raid", "disk_space", "clock", "cuda"}
    assert names | {"python", "torch", "vllm", "connector"} <= set(rows)
    assert rows["gateway"]["level"] == "ok" and rows["cpu"]["level"] == "ok"
    for row in rows.values():
        assert row["found"] and (row["todo"] or row["level"] in ("ok", "note")), row


def test_doctor_asks_the_daemon_for_its_directories(daemon, cli):
    rows = {row["name"]: row for row in cli.json("doctor")}
    assert "free" in rows["disk_space"]["found"], rows["disk_space"]
    assert daemon.data_dir.is_dir() and "--data-dir" not in rows["disk_scheduler"]["found"]


def test_namespaces_that_look_alike_are_told_apart(daemon, cli):
    for dtype in ("float16", "bfloat16"):
        client = daemon.client()
        client.open(model="twins", dtype=dtype)
        client.set({b"k8": b"v"})
        client.channel.close()
    for said in (
        cli("--ns", "twins", "get", "k8", status=REFUSED),
        cli("stats", "--namespaces", "--ns", "twins"),
        cli("explain", "k8"),
    ):
        assert "dtype=float16" in said and "dtype=bfloat16" in said
        assert "kvgate-cli" not in said
    rows = cli.json("--ns", "twins", "stats")["namespaces"]
    assert {row["differs_in"] for row in rows} == {"dtype=float16", "dtype=bfloat16"}


def test_stats_of_a_namespace_shows_no_other(cli):
    cli("set", "k9", "--value", "v")
    assert "kvgate-cli" in cli("stats", "--namespaces", "--ns", "kvgate-cli")
    assert "choose one of" in cli("stats", "--namespaces", "--ns", "none such", status=REFUSED)
    assert cli.json("stats", "--per-request", "--ns", "kvgate-cli") == []


def test_explain_takes_group_and_shard(cli):
    cli("set", "k10", "--value", "v")
    assert cli.json("explain", "k10", "--group", "0", "--shard", "0")["reason"] == "held"
    other = cli("explain", "k10", "--shard", "3", status=ABSENT)
    assert "there is: group 0 shard 0" in other


@pytest.mark.parametrize("flag", ["group", "shard"])
@pytest.mark.parametrize("command", [("get",), ("set", "--value=v")])
def test_a_group_or_shard_that_is_not_is_said_in_words_of_the_command_line(cli, command, flag):
    said = cli(*command, "k", f"--{flag}=1", status=USAGE)
    assert f"--{flag} 1" in said and "queries" not in said


def test_a_key_or_value_that_cannot_be_is_said_before_the_gateway_is_asked(cli):
    assert "--value" in cli("set", "k", status=USAGE)
    assert "1024" in cli("get", "k" * 1025, status=USAGE)
    assert "not a key" in cli("get", "", status=USAGE)


def test_counters_are_found_by_a_part_of_their_name(cli):
    assert "get_misses_corrupt_total" in cli("stats", "--filter", "corrupt")
    assert "get_misses_corrupt_total" in cli.json("stats", "--prefix", "corrupt")["counters"]
    assert "no counter has" in cli("stats", "--filter", "zzz", status=ABSENT)


@pytest.mark.parametrize("typed", ["501", "kvg501", "KVG501", "[KVG501]", "no-gateway"])
def test_an_error_is_found_as_people_type_it(cli, typed):
    assert cli("errors", typed).startswith("KVG501 ")


def test_the_daemons_file_of_tokens_is_not_a_clients(cli, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("# of all tenants\ndefault 0123456789abcdef\n")
    said = cli("--token-file", str(tokens), "ping", status=REFUSED)
    assert "holds TENANT TOKEN" in said and "only the token is wanted" in said
    assert "0123456789abcdef" not in said


def test_a_mistyped_word_is_answered_with_the_nearest(cli):
    assert '"ping"' in cli("pingg", status=USAGE)
    assert '"--tenant"' in cli("--tenat", "x", "ping", status=USAGE)
    assert '"--limit"' in cli("scan", "--limt", "3", status=USAGE)
    assert '"stats"' in cli("--tenant", "default", "status", status=USAGE)
    assert "explain" in cli(status=USAGE)
    assert "Usage: kvgate" in cli("--help")


def test_an_absent_gateway_is_said_with_what_to_do():
    cli = Cli(None)
    assert "--run-dir" in cli("ping", status=UNREACHABLE)
    assert "--run-dir" in cli("stats", status=UNREACHABLE)
    assert "no kvgated answers" in cli("doctor", status=REFUSED)
    assert "none answers" in cli("version")


def test_why_nobody_answers_is_told_apart(start):
    daemon = start(*harness.SMALL)
    cli = Cli(daemon, "--timeout-ms=200")
    daemon.freeze()
    assert "runs in" in cli("stats", status=UNREACHABLE)
    assert "runs in" in cli("doctor", status=REFUSED)
    daemon.thaw()
    daemon.kill()
    assert "gone left its sockets" in cli("stats", status=UNREACHABLE)


def test_several_tenants_come_by_grpc(start):
    daemon = start(*harness.SMALL, "--tenants=red,blue")
    red, blue = (Cli(daemon, f"--tenant={name}") for name in ("red", "blue"))
    red("set", "k", "--value", "of red")
    assert red("get", "k") == "of red"
    blue("get", "k", status=ABSENT)
    assert "blue, red" in Cli(daemon)("ping", status=UNREACHABLE)
    assert red.json("explain", "k")["reason"] == "held"
    assert blue.json("explain", "k", status=ABSENT)["reason"] == "never_stored"
    assert [row["tenant"] for row in red.json("scan")] == ["red"]
    assert blue.json("scan") == []
    assert [row["tenant"] for row in red.json("stats")["namespaces"]] == ["red"]
    for command in (("explain", "k"), ("scan",), ("stats",)):
        said = Cli(daemon, "--tenant=green")(*command, status=REFUSED)
        assert "choose one of: blue, red" in said


def test_wrong_usage_is_told_apart(cli):
    assert "KEY" in cli("get", status=USAGE)
    assert "nonsense" in cli("nonsense", status=USAGE)
    for command in ("ping", "get", "set", "del", "lookup", "scan", "stats", "top", "explain"):
        assert "--help" in cli(command, "--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(cli, shell):
    script = cli("completion", shell)
    for word in ("lookup", "explain", "doctor"):
        assert word in script


def test_bash_completes_a_command_and_its_options(cli, tmp_path):
    (tmp_path / "kvgate.bash").write_text(cli("completion", "bash"))
    ask = (
        f"source {tmp_path}/kvgate.bash; COMP_WORDS=(kvgate {{}}); COMP_CWORD={{}}; _kvgate; "
        'echo "${{COMPREPLY[*]}}"'
    )

    def complete(words: str, at: int) -> str:
        command = ["bash", "-c", ask.format(words, at)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert complete("expl", 1).split() == ["explain"]
    assert "--per-request" in complete("stats --per", 2)


def test_config_is_the_daemons(cli, tmp_path):
    assert "data_dir" in cli("config", "print", "--effective", f"--data-dir={tmp_path}")
