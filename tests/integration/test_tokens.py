# SPDX-License-Identifier: Apache-2.0
"""Doors that ask for tokens: gRPC by unix socket and TCP, the local door, the CLI."""

import importlib
import os
import signal
import subprocess

import client_world
import grpc
import harness
import pytest
from client_world import connect, eventually, keys, load, store, values
from harness import pb
from kvgate import BreakerState, Code, Reason

RED, BLUE, NEXT = "red-token-0123456789", "blue-token-0123456789", "n" * 200


@pytest.fixture
def tokens(tmp_path):
    def write(*lines, mode=0o600):
        write.file.write_text("".join(f"{line}\n" for line in lines))
        write.file.chmod(mode)

    write.file = tmp_path / "tokens"
    return write


@pytest.fixture
def daemon(start, tokens):
    """One tenant: it has a local door."""
    tokens("# of the engines", f"default {RED}")
    return start(*harness.SMALL, f"--tokens-file={tokens.file}", "--log-level=debug")


def call(target, token=None, method="Open", **fields):
    """A call of the stub; `token` is the metadata's whole value."""
    module = importlib.import_module("proto.kvgate.v1.kvgate_pb2_grpc")
    with grpc.insecure_channel(target, options=harness.CHANNEL_OPTIONS) as channel:
        request = getattr(pb(), f"{method}Request")(**fields)
        metadata = [] if token is None else [("authorization", token)]
        stub = getattr(module.KvCacheStub(channel), method)
        return stub(request, metadata=metadata, timeout=harness.HANG_S)


def open_by(target, token=None):
    return call(target, token, identity=harness.make_identity())


def refusal(target, token=None, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        if fields:
            call(target, token, **fields)
        else:
            open_by(target, token)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    return caught.value.details()


def door(daemon, tenant=""):
    return f"unix:{daemon.run_dir}/grpc{tenant and '-' + tenant}.sock"


def test_a_grpc_door_says_what_it_wants_and_repeats_no_token(daemon):
    for shown in (None, RED, f"Basic {RED}", f"Bearer {RED}x", f"Bearer {BLUE}", "Bearer "):
        said = refusal(door(daemon), shown)
        assert "authorization: Bearer TOKEN" in said and RED not in said and BLUE not in said
    assert open_by(door(daemon), f"Bearer {RED}").namespace
    counters = daemon.stats("door_")
    assert counters["door_tokens_missing_total"] == 4
    assert counters["door_tokens_wrong_total"] == 2
    assert counters["door_tokens"] == 1


@pytest.mark.parametrize("method", ["Lookup", "Get", "Set", "Offer", "Touch", "Delete", "Pin"])
def test_every_call_is_asked(daemon, method):
    opened = open_by(door(daemon), f"Bearer {RED}")
    refusal(door(daemon), None, method=method, namespace=opened.namespace)


def test_health_reflection_and_the_operator_are_not_asked(daemon):
    client = kvgate_client(daemon, "grpc", token=RED)
    assert client.ping(timeout_ms=harness.HANG_S * 1000) == Code.OK
    assert daemon.stats("door_tokens")["door_tokens"] == 1
    if os.environ.get("GRPCURL"):
        command = [os.environ["GRPCURL"], "-plaintext", "-unix", f"{daemon.run_dir}/grpc.sock"]
        said = subprocess.run([*command, "list"], capture_output=True, text=True, check=True)
        assert "kvgate.v1.KvCache" in said.stdout


def test_a_token_opens_its_own_tenants_door_and_names_the_tenant_on_tcp(start, tokens):
    tokens(f"red {RED}", f"blue {BLUE}")
    flags = ("--tenants=red,blue", "--grpc-tcp=0", "--grpc-tcp-tenant=red")
    daemon = start(*harness.SMALL, *flags, f"--tokens-file={tokens.file}")
    red = open_by(door(daemon, "red"), f"Bearer {RED}").namespace
    refusal(door(daemon, "red"), f"Bearer {BLUE}")
    blue = open_by(door(daemon, "blue"), f"Bearer {BLUE}").namespace
    assert red != blue
    tcp = daemon.ready["tcp"]
    assert "of a tenant" in refusal(tcp)
    assert open_by(tcp, f"Bearer {RED}").namespace == red
    assert open_by(tcp, f"Bearer {BLUE}").namespace == blue
    with pytest.raises(grpc.RpcError) as caught:
        call(tcp, f"Bearer {BLUE}", method="Get", namespace=red, keys=[b"k"])
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def kvgate_client(daemon, transport, **options):
    return connect(daemon, transport, **options)


def opened(client):
    return client.open(client_world.identity(), timeout_ms=harness.HANG_S * 1000)


@pytest.mark.parametrize("transport", client_world.TRANSPORTS)
def test_a_client_shows_its_token(daemon, transport):
    with kvgate_client(daemon, transport, token=RED) as client:
        ns = opened(client)
        contents = values(2)
        assert {r.name for r in store(client, ns, keys(2), contents)} == {"OK"}
        assert load(client, ns, keys(2), 1000) == contents
    for options in ({}, {"token": BLUE}):
        with kvgate_client(daemon, transport, **options) as client:
            ns = opened(client)
            assert ns.code == Code.UNAUTHENTICATED and BLUE not in ns.error
            assert "wants" in ns.error


@pytest.mark.parametrize("transport", client_world.TRANSPORTS)
def test_a_refused_token_is_no_outage_and_the_file_puts_it_right(daemon, tmp_path, transport):
    own = tmp_path / "own"
    own.write_text(f"{BLUE}\n")
    with kvgate_client(daemon, transport, token_file=str(own)) as client:
        ns = opened(client)
        assert ns.code == Code.UNAUTHENTICATED and ns.error.endswith("[KVG215]")
        asked = daemon.stats("door_tokens")["door_tokens_wrong_total"]
        for _ in range(20):
            missed = client.get(ns, keys(1), 1, timeout_ms=1000)
            assert (missed, missed.code) == ([None], Code.UNAUTHENTICATED)
        stats = client.stats()
        assert (stats.breaker_state, stats.breaker_opens) == (BreakerState.CLOSED, 0)
        assert stats.breaker_reason == "none"
        assert stats.misses_by_reason == {Reason.UNAUTHENTICATED: 20}
        assert daemon.stats("door_tokens")["door_tokens_wrong_total"] == asked
        own.write_text(f"{RED}\n")
        eventually(lambda: {r.name for r in store(client, ns, keys(1), [b"v"])} == {"OK"})
    with kvgate_client(daemon, transport, token=RED) as client:
        assert load(client, opened(client), keys(1), 1) == [b"v"]


@pytest.mark.parametrize("transport", client_world.TRANSPORTS)
def test_tokens_change_without_a_restart_of_anybody(daemon, tokens, tmp_path, transport):
    own = tmp_path / "own"
    own.write_text(f"{RED}\n")
    with kvgate_client(daemon, transport, token_file=str(own)) as client:
        ns = opened(client)
        store(client, ns, keys(1), [b"v" * 1000])
        tokens(f"default {RED}", f"default {NEXT}")
        reload(daemon)
        assert load(client, ns, keys(1), 1000) == [b"v" * 1000]
        own.write_text(f"{NEXT}\n")
        tokens(f"default {NEXT}")
        reload(daemon)
        eventually(lambda: load(client, ns, keys(1), 1000) == [b"v" * 1000])
        refusal(door(daemon), f"Bearer {RED}")


def reload(daemon):
    before = daemon.text().count("reload")
    daemon.send(signal.SIGHUP)
    eventually(lambda: daemon.text().count("reload") > before)


def test_a_reload_of_a_bad_file_is_refused_and_changes_nothing(daemon, tokens):
    tokens(f"default {NEXT}", mode=0o644)
    reload(daemon)
    assert "reload refused: tokens_file" in daemon.text() and "0644" in daemon.text()
    assert open_by(door(daemon), f"Bearer {RED}").namespace


def test_many_wrong_tokens_wait_and_a_good_one_does_not(daemon):
    module = importlib.import_module("proto.kvgate.v1.kvgate_pb2_grpc")
    request = pb().OpenRequest(identity=harness.make_identity())
    with grpc.insecure_channel(door(daemon), options=harness.CHANNEL_OPTIONS) as channel:
        stub = module.KvCacheStub(channel)
        wrong = [("authorization", "Bearer wrong")]
        running = [stub.Open.future(request, metadata=wrong) for _ in range(40)]
        good = [("authorization", f"Bearer {RED}")]
        assert stub.Open(request, metadata=good, timeout=harness.HANG_S).namespace
        for one in running:
            assert one.exception(timeout=harness.HANG_S).code().name == "UNAUTHENTICATED"
    assert daemon.stats("door_")["door_refusals_paused_total"] > 0


def test_a_stop_does_not_wait_for_refusals_that_are_kept_back(daemon):
    module = importlib.import_module("proto.kvgate.v1.kvgate_pb2_grpc")
    with grpc.insecure_channel(door(daemon), options=harness.CHANNEL_OPTIONS) as channel:
        stub = module.KvCacheStub(channel)
        running = [stub.Open.future(pb().OpenRequest()) for _ in range(40)]
        eventually(lambda: daemon.stats("door_")["door_refusals_paused_total"] > 0)
        assert daemon.stop() == 0
        assert all(one.exception(timeout=harness.HANG_S) for one in running)


def test_no_token_is_in_the_log_the_command_line_or_the_printed_configuration(daemon, tokens):
    refusal(door(daemon), f"Bearer {BLUE}")
    with kvgate_client(daemon, "local", token=RED) as client:
        assert opened(client).available
    with open(f"/proc/{daemon.pid}/cmdline", "rb") as file:
        line = file.read().decode()
    command = [os.environ["KVGATED"], "config", "print", "--effective", "--data-dir=/tmp"]
    shown = subprocess.run(
        [*command, f"--tokens-file={tokens.file}"], capture_output=True, text=True, check=True
    ).stdout
    assert f'tokens_file: "{tokens.file}"' in shown
    for text in (line, shown, daemon.text()):
        assert RED not in text and BLUE not in text


@pytest.mark.parametrize(
    ("lines", "mode", "said"),
    [
        ((f"default {RED}",), 0o644, "chmod 0600"),
        ((f"blue {RED}",), 0o600, 'tenant "blue" has no door here'),
        (("default short",), 0o600, "line 1: a token of 5 bytes"),
        ((), 0o600, "has no tokens"),
    ],
)
def test_a_file_that_is_wrong_ends_the_start_with_what_to_do(start, tokens, lines, mode, said):
    tokens(*lines, mode=mode)
    with pytest.raises(AssertionError) as caught:
        start(*harness.SMALL, f"--tokens-file={tokens.file}")
    assert said in str(caught.value) and RED not in str(caught.value)


def test_the_cli_takes_a_file_or_the_environment(daemon, tmp_path):
    own = tmp_path / "own"
    own.write_text(f"{RED}\n")
    bare = {k: v for k, v in os.environ.items() if not k.startswith("KVGATE_TOKEN")}

    def cli(*words, **extra):
        command = [os.environ["KVGATE_CLI"], f"--run-dir={daemon.run_dir}", *words]
        return subprocess.run(
            command, capture_output=True, text=True, env={**bare, **extra}, timeout=harness.HANG_S
        )

    assert cli("--token-file", str(own), "set", "k", "--value", "v").returncode == 0
    assert cli("get", "k", KVGATE_TOKEN_FILE=str(own)).stdout == "v"
    assert cli("get", "k", KVGATE_TOKEN=RED).returncode == 0
    refused = cli("get", "k")
    assert refused.returncode == 4 and "UNAUTHENTICATED" in refused.stderr
    missing = cli("--token-file", str(tmp_path / "none"), "get", "k")
    assert missing.returncode == 4 and "token_file" in missing.stderr
