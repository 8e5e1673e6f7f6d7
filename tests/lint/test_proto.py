# SPDX-License-Identifier: Apache-2.0
"""The contract: its style, and that no change of it goes unnoticed."""

import re
import subprocess

import golden
import pytest
import sources
from google.protobuf import descriptor_pb2

# Field numbers of descriptor.proto, of which source locations are made.
_SERVICE, _METHOD, _MESSAGE, _FIELD = 6, 2, 4, 2


@pytest.fixture(scope="module")
def protos(tmp_path_factory):
    paths = [str(path) for path in sources.files(".proto", under="proto/kvgate")]
    out = tmp_path_factory.mktemp("proto") / "descriptor.bin"
    command = ["protoc", "-I.", "--include_source_info", f"--descriptor_set_out={out}", *paths]
    subprocess.run(command, cwd=sources.ROOT, check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file


def _messages(scope):
    """All messages of a file or message, nested ones included, without those that a map makes."""
    for message in getattr(scope, "message_type", None) or getattr(scope, "nested_type", ()):
        if not message.options.map_entry:
            yield message
            yield from _messages(message)


def _enums(file):
    yield from file.enum_type
    for message in _messages(file):
        yield from message.enum_type


def test_the_package_is_the_folder(protos):
    for file in protos:
        assert file.package == "kvgate.v1", file.name
        assert file.name.startswith("proto/kvgate/v1/"), file.name
        assert file.syntax == "proto3", file.name


def test_each_call_has_its_own_request_and_response(protos):
    wrong, seen = [], set()
    for file in protos:
        for service in file.service:
            for method in service.method:
                types = [method.input_type.split(".")[-1], method.output_type.split(".")[-1]]
                if types != [f"{method.name}Request", f"{method.name}Response"]:
                    wrong.append(f"{service.name}.{method.name}: {types}")
                wrong += [f"{name} is used by two calls" for name in types if name in seen]
                seen.update(types)
    assert not wrong, "\n".join(wrong)


def test_enums_start_unspecified_and_carry_their_name(protos):
    wrong = []
    for file in protos:
        for enum in _enums(file):
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
            wrong += [
                f"{enum.name}.{value.name}: does not start with {prefix}"
                for value in enum.value
                if not value.name.startswith(prefix)
            ]
            if enum.value[0].number != 0 or enum.value[0].name != f"{prefix}UNSPECIFIED":
                wrong.append(f"{enum.name}: 0 is not {prefix}UNSPECIFIED")
    assert not wrong, "\n".join(wrong)


def test_names_are_in_the_usual_case(protos):
    wrong = []
    for file in protos:
        for message in _messages(file):
            if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", message.name):
                wrong.append(message.name)
            wrong += [
                f"{message.name}.{field.name}"
                for field in message.field
                if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name)
            ]
    assert not wrong, "\n".join(wrong)


def test_every_call_has_a_comment(protos):
    """Messages and fields are for the reader to judge: a forced comment on each turns hollow."""
    wrong = []
    for file in protos:
        commented = _commented(file)
        for index, service in enumerate(file.service):
            for number, method in enumerate(service.method):
                if (_SERVICE, index, _METHOD, number) not in commented:
                    wrong.append(f"{file.name}: {service.name}.{method.name}")
    assert not wrong, "no comment on:\n" + "\n".join(wrong)


# What is said of every number of this kind stands at the head of kvgate.proto; a name that ends in
# its unit needs no more.
_QUANTITY = re.compile(
    r"(^|_)(age|bandwidth|capacity|deadline|delay|duration|elapsed|expires|interval|latency|length"
    r"|limit|max|memory|min|period|quota|rate|received|time|timeout|ttl|written)(_|$)"
)
_UNIT = re.compile(
    r"(^|_)(ms|us|ns|s|bytes|tokens|keys|blocks|values|tickets|entries|hz|total|namespaces|groups)"
    r"(_max|_min|_total)?(_|$)"
)


def test_quantities_carry_their_unit_or_say_it(protos):
    wrong = []
    for file in protos:
        commented = _commented(file)
        for index, message in enumerate(file.message_type):
            wrong += [
                f"{file.name}: {message.name}.{field.name}: bytes, ms, tokens, …?"
                for number, field in enumerate(message.field)
                if _is_number(field)
                and _QUANTITY.search(field.name)
                and not _UNIT.search(field.name)
                and (_MESSAGE, index, _FIELD, number) not in commented
            ]
    assert not wrong, "\n".join(wrong)


def _commented(file):
    """The paths in the descriptor of what has a comment."""
    return {
        tuple(location.path)
        for location in file.source_code_info.location
        if location.leading_comments.strip() or location.trailing_comments.strip()
    }


def _is_number(field):
    kinds = descriptor_pb2.FieldDescriptorProto
    texts = (kinds.TYPE_STRING, kinds.TYPE_BYTES, kinds.TYPE_BOOL)
    return field.type not in (*texts, kinds.TYPE_MESSAGE, kinds.TYPE_ENUM)


def test_the_contract_is_the_accepted_one():
    accepted = golden.GOLDEN.read_text() if golden.GOLDEN.exists() else ""
    assert golden.describe() == accepted, (
        "proto/kvgate/v1 differs from proto/golden/descriptor.txt. A change that breaks clients is "
        'not allowed in v1; for any other run: ./dev golden "what changed"'
    )


def test_each_accepted_contract_has_its_line_in_the_changelog():
    entries = golden.changelog_entries()
    digests = [digest for digest, _ in entries]
    assert len(set(digests)) == len(digests), "two lines of proto/CHANGELOG.md name one contract"
    assert digests and digests[-1] == golden.digest(golden.GOLDEN.read_text()), (
        "the last line of proto/CHANGELOG.md does not name proto/golden/descriptor.txt: "
        'run ./dev golden "what changed" instead of editing either by hand'
    )
