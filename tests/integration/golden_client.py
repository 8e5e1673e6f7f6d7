# SPDX-License-Identifier: Apache-2.0
"""Golden clients: the client of a release, kept so that all later daemons are tried with it.

golden/client_NAME/client.tar.xz holds the Python package, both libraries (stripped) and the program
that drives them, old_client.py; manifest.json says what it is. The package brings the structs of
the C ABI that its library speaks. Run as a program (`./dev release-client [NAME]`) it records the
client of this tree, as its VERSION when no name is given, and leaves one that is there alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = HERE / "golden"
BYTES_MAX = 1536 << 10
LIBRARIES = {"libkvgate.so": "KVGATE_LIB", "libkvgate_grpc.so": "KVGATE_GRPC_LIB"}


def _contents() -> dict[str, bytes]:
    """Name in the archive -> bytes. The vLLM connector is not a client of its own."""
    files = {f"kvgate/{path.name}": path for path in (ROOT / "client/python/kvgate").glob("*.py")}
    files["old_client.py"] = HERE / "old_client.py"
    contents = {name: path.read_bytes() for name, path in files.items()}
    with tempfile.TemporaryDirectory() as scratch:
        stripped = Path(scratch) / "library"
        for name, variable in LIBRARIES.items():
            strip = ["strip", "--strip-unneeded", "-o", stripped, os.environ[variable]]
            subprocess.run(strip, check=True)
            contents[f"kvgate/{name}"] = stripped.read_bytes()
    return contents


def make(folder: Path, version: str) -> None:
    contents = _contents()
    folder.mkdir(parents=True)
    archive = folder / "client.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for name, data in sorted(contents.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if name.endswith(".so") else 0o644
            tar.addfile(info, io.BytesIO(data))
    manifest = {"version": version, "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def unpack(folder: Path, target: Path) -> dict[str, str]:
    """Its manifest. What was recorded is what must be there."""
    manifest: dict[str, str] = json.loads((folder / "manifest.json").read_text())
    archive = folder / "client.tar.xz"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == manifest["sha256"], folder.name
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return manifest


def main() -> int:
    version = (ROOT / "VERSION").read_text().strip()
    folder = FOLDER / f"client_{sys.argv[1] if len(sys.argv) > 1 else version}"
    if folder.exists():
        print(f"{folder.name} is there: what a release shipped is not recorded anew")
        return 1
    make(folder, version)
    print(f"{folder.name}: {(folder / 'client.tar.xz').stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
