# SPDX-License-Identifier: Apache-2.0
"""./dev golden WHAT: accepts a changed contract.

proto/golden/descriptor.txt is what protoc understands of proto/kvgate/v1, without comments. Each of
its versions has a line in proto/CHANGELOG.md: its digest and, in words, what changed. The lint test
asks that both agree with the .proto files, so that no change of the contract goes unnoticed.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

import sources

GOLDEN = sources.ROOT / "proto/golden/descriptor.txt"
CHANGELOG = sources.ROOT / "proto/CHANGELOG.md"

_CHANGELOG_HEAD = """# Changes of the contract

One line for each change of `proto/kvgate/v1`, newest last: the digest of `golden/descriptor.txt`
and what changed. `./dev golden WHAT` writes it.

"""


def describe():
    """The contract as text: a FileDescriptorSet in protobuf's text format."""
    protos = [str(path) for path in sources.files(".proto", under="proto/kvgate")]
    with tempfile.TemporaryDirectory() as directory:
        # Not /dev/stdout: protoc replaces what it writes to.
        out = pathlib.Path(directory) / "descriptor"
        subprocess.run(
            ["protoc", "-I.", f"--descriptor_set_out={out}", *protos],
            cwd=sources.ROOT,
            check=True,
        )
        binary = out.read_bytes()
    decode = ["protoc", "--decode=google.protobuf.FileDescriptorSet"]
    decode += ["-I/usr/include", "google/protobuf/descriptor.proto"]
    return subprocess.run(decode, input=binary, check=True, capture_output=True).stdout.decode()


def digest(description):
    return hashlib.sha256(description.encode()).hexdigest()[:12]


def changelog_entries():
    """(digest, what) of each line, oldest first."""
    text = CHANGELOG.read_text() if CHANGELOG.exists() else ""
    return re.findall(r"^- `([0-9a-f]{12})` (.+)$", text, flags=re.MULTILINE)


def main():
    what = " ".join(sys.argv[1:]).strip()
    description = describe()
    if GOLDEN.exists() and GOLDEN.read_text() == description:
        print("the contract has not changed")
        return
    if len(what) < 10:
        sys.exit('say what changed: ./dev golden "Lookup: new field stage"')
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(description)
    text = CHANGELOG.read_text() if CHANGELOG.exists() else _CHANGELOG_HEAD
    CHANGELOG.write_text(
        f"{text.rstrip()}\n{'' if changelog_entries() else chr(10)}"
        f"- `{digest(description)}` {what}\n"
    )
    print(f"wrote {GOLDEN.relative_to(sources.ROOT)} and a line of proto/CHANGELOG.md")


if __name__ == "__main__":
    main()
