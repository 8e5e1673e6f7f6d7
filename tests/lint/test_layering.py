# SPDX-License-Identifier: Apache-2.0
"""Who may look into whom: read off the #include lines and the labels in BUILD files.

gcc has no layering_check and Bazel 4.2 no implementation_deps: this is what keeps rooms apart.
"""

import re

import sources

# Room -> what its files may include of this project. The longest room that fits a path counts.
_MAY_INCLUDE = {
    "bazel": (),
    "proto/wire": ("proto/wire/",),
    "storage": ("storage/", "proto/wire/"),
    "client": ("client/", "proto/", "gateway/local/protocol.h"),
    "gateway": ("gateway/", "proto/", "storage/store.h", "storage/options.h", "storage/base/"),
    # The one place that puts a whole daemon together.
    "gateway/gateway.cc": ("gateway/", "proto/", "storage/"),
    # Tests that cross rooms may see all of them.
    "tests": ("tests/", "client/", "gateway/", "proto/", "storage/"),
}

# Libraries whose headers would travel through ours into every room: only .cc files name them.
_ONLY_IN_CC = re.compile(
    r"(rocksdb|grpc|grpcpp|grpc\+\+|google/protobuf|prometheus|yaml-cpp|CLI|isa-l|hiredis)/|liburing"
)
_WIRE_MAY_INCLUDE = re.compile(
    r"[a-z_0-9]+$|(openssl|absl)/|(nmm|imm|wmm|x86)intrin\.h|arm_acle\.h"
)
_STORAGE_MUST_NOT_INCLUDE = re.compile(r"(grpc|grpcpp|grpc\+\+|google/protobuf|prometheus)/")

# Room -> labels that its BUILD files must not depend on.
_MUST_NOT_DEPEND = {
    "proto/wire": r"//(storage|gateway|client|proto/kvgate)|@sys//:(grpc|protobuf|rocksdb|uring)$",
    "storage": r"//(gateway|client|proto/kvgate)|@sys//:(grpc|protobuf|prometheus)$",
    "client": r"//storage|//gateway(?!/local:protocol$)|@sys//:(rocksdb|uring|prometheus)$",
}


def _room_of(path, rooms):
    return max((room for room in rooms if f"{path}/".startswith(f"{room}/")), key=len, default=None)


def _includes():
    """(path, line number, what it includes) of all C++ files."""
    for path in sources.files(*sources.CC):
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if found:
                yield path, number, found[1]


def _is_test(path):
    return path.parts[0] == "tests" or bool(
        re.search(r"_(test|benchmark)\.cc$|/test_\w+\.h$|testing", str(path))
    )


def test_rooms_include_only_what_they_may_know():
    own_rooms = tuple(
        f"{room}/" for room in ("bazel", "client", "gateway", "proto", "storage", "tests")
    )
    wrong = []
    for path, number, included in _includes():
        room = _room_of(path, _MAY_INCLUDE)
        allowed = _MAY_INCLUDE[room] if room else ()
        # A test beside the code may use the fakes and conformance suites of any room below it.
        if _is_test(path) and room == "gateway":
            allowed = (*allowed, "storage/", "client/")
        if included.startswith(own_rooms) and not included.startswith(allowed):
            wrong.append(f"{path}:{number}: {room} must not include {included}")
    assert not wrong, "\n".join(wrong)


def test_storage_knows_no_grpc_and_no_protobuf():
    wrong = [
        f"{path}:{number}: includes {included}"
        for path, number, included in _includes()
        if path.parts[0] == "storage" and _STORAGE_MUST_NOT_INCLUDE.match(included)
    ]
    assert not wrong, "\n".join(wrong)


def test_wire_needs_only_the_standard_library_openssl_and_abseil():
    wrong = [
        f"{path}:{number}: includes {included}"
        for path, number, included in _includes()
        if path.parts[:2] == ("proto", "wire")
        and not _is_test(path)
        and not included.startswith("proto/wire/")
        and not _WIRE_MAY_INCLUDE.match(included)
    ]
    assert not wrong, "\n".join(wrong)


def test_third_party_headers_stay_in_cc_files():
    wrong = [
        f"{path}:{number}: a header includes {included}"
        for path, number, included in _includes()
        if path.suffix != ".cc" and _ONLY_IN_CC.match(included)
    ]
    assert not wrong, "\n".join(wrong)


def test_build_files_depend_only_on_rooms_below():
    wrong = []
    for path in sources.files("BUILD.bazel"):
        room = _room_of(path, _MUST_NOT_DEPEND)
        if not room:
            continue
        for label in re.findall(r'"((?://|@sys//)[^"]+)"', sources.text(path)):
            is_friend = label.endswith((":__pkg__", ":__subpackages__"))
            if not is_friend and re.match(_MUST_NOT_DEPEND[room], label):
                wrong.append(f"{path}: {room} must not depend on {label}")
    assert not wrong, "\n".join(wrong)


def test_build_files_use_the_macros_of_this_project():
    wrong = [
        f"{path}: uses a native {rule}; take kvgate_{rule} of //bazel:defs.bzl"
        for path in sources.files("BUILD.bazel")
        for rule in re.findall(r"^(?:native\.)?(cc_\w+)\(", sources.text(path), flags=re.MULTILINE)
    ]
    assert not wrong, "\n".join(wrong)
