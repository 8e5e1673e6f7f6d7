# SPDX-License-Identifier: Apache-2.0
"""Golden data directories: what a release wrote, kept for all later ones to read.

golden/format_N.tar.xz holds the data directory of a daemon of disk format N that was killed: sealed
segments, an open one, deletions, values that replaced others, and manifest.json, which says what
must be found. Run as a program (`./dev golden-segments`) it makes the one of the daemon at
$KVGATED, and leaves one that is there alone: what was written once is what stays promised.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import harness
from harness import pb

FOLDER = Path(__file__).with_name("golden")
FLAGS = ("--memory=64MiB", "--disk=12MiB", "--segment-bytes=1MiB", "--metrics=off")
MODELS = {"demo": "", "second": "an-alias"}  # model -> alias
SIZES = [1, 17, 4096, 4097, 65_536, 200_000]
KEYS = 24
LEFT_OUT = r"run/|.*LOCK$|checkpoint/(LOG|OPTIONS)"  # made anew; RocksDB's name the place
DELETED, REPLACED = slice(3, 8), slice(10, 14)


def value(model: str, key: bytes, size: int, version: int) -> bytes:
    unit = hashlib.sha256(f"{model} {version} ".encode() + key).digest()
    return (unit * (size // len(unit) + 1))[:size]


def format_of_daemon() -> int:
    said = subprocess.run(
        [os.environ["KVGATED"], "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(re.search(r"disk format (\d+)", said)[1])


def _write(client: harness.Client, model: str, alias: str) -> dict:
    keys = [f"{model}-{i}".encode() for i in range(KEYS)]
    sizes = [SIZES[i % len(SIZES)] for i in range(KEYS)]
    versions = [1] * KEYS
    client.open(alias=alias, model=model)
    for key, size in zip(keys, sizes, strict=True):
        client.set({key: value(model, key, size, 1)}, durability=pb().DURABILITY_DEVICE)
    again = {
        key: value(model, key, size, 2)
        for key, size in zip(keys[REPLACED], sizes[REPLACED], strict=True)
    }
    client.set(again, mode=pb().SET_MODE_OVERWRITE, durability=pb().DURABILITY_DEVICE)
    versions[REPLACED] = [2] * len(again)
    client.delete(keys[DELETED], durability=pb().DURABILITY_DEVICE)
    rows = [
        {"key": key.decode(), "bytes": size, "version": version}
        for key, size, version in zip(keys, sizes, versions, strict=True)
    ]
    deleted = [row["key"] for row in rows[DELETED]]
    return {
        "model": model,
        "alias": alias,
        "identity": harness.make_identity(model=model).SerializeToString().hex(),
        "deleted": deleted,
        "held": [row for row in rows if row["key"] not in deleted],
    }


def make(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        harness.generate_stubs(Path(folder))
        data_dir = Path(folder) / "data"
        daemon = harness.Daemon(data_dir, *FLAGS).start()
        try:
            client = daemon.client()
            manifest = [_write(client, model, alias) for model, alias in MODELS.items()]
        finally:
            daemon.kill()
        (data_dir / "kvgate.manifest.json").write_text(json.dumps(manifest, indent=1))
        with tarfile.open(archive, "w:xz") as tar:
            for path in sorted(data_dir.rglob("*")):
                inside = path.relative_to(data_dir)
                if path.is_file() and not re.match(LEFT_OUT, inside.as_posix()):
                    tar.add(path, inside.as_posix(), filter=_without_owner)


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def unpack(archive: Path, data_dir: Path) -> list[dict]:
    """The namespaces of its manifest."""
    data_dir.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(data_dir, filter="data")
    manifest = data_dir / "kvgate.manifest.json"
    namespaces = json.loads(manifest.read_text())
    manifest.unlink()
    return namespaces


def main() -> int:
    archive = FOLDER / f"format_{format_of_daemon()}.tar.xz"
    if archive.exists():
        print(f"{archive.name} is there: what a release wrote is not written anew")
        return 1
    FOLDER.mkdir(exist_ok=True)
    make(archive)
    print(f"{archive.name}: {archive.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
