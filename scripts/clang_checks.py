# SPDX-License-Identifier: Apache-2.0
"""What clang sees and gcc does not: locks and what they guard, and clang-tidy's short list.

A room's files are read as one, because most of the time goes into headers that all of them include.
Files that cannot be read as one (two of them use a name differently) are split in halves until they
can, so that only what is wrong in a file itself is left. What passed leaves a stamp in out/lint,
named by the hash of all that was read: an unchanged room costs nothing.

`clang_checks.py locks|tidy [ROOM…]`; the exit status is 1 when something was found.
"""

import ast
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import sources

OUT = sources.ROOT / "out/lint"
GENERATED = OUT / "generated"
_ROOMS = ("client", "gateway", "proto", "storage")
_NOT_SHIPPED = re.compile(r"_(test|benchmark|harness)\.cc$")
_ANNOTATED = re.compile(r"\bABSL_\w*(GUARDED_BY|LOCK\w*REQUIRED|LOCK_FUNCTION)\b")
_INCLUDE = re.compile(r'^#include "([^"]+)"', flags=re.MULTILINE)

_FLAGS = ["-std=c++20", f"-I{sources.ROOT}", f"-isystem{GENERATED}"]
_LOCK_FLAGS = ["-fsyntax-only", "-Wthread-safety", "-Werror"]
# The one file that includes others is ours, and its name is not.
_TIDY_CHECKS = "-bugprone-suspicious-include"


@dataclass(frozen=True)
class Unit:
    """Files that are read as one."""

    name: str
    paths: tuple  # relative to the root


def rooms():
    """A unit for each folder of shipped code."""
    folders = {}
    for path in sources.files(".cc"):
        if path.parts[0] in _ROOMS and not _NOT_SHIPPED.search(path.name):
            folders.setdefault(str(path.parent), []).append(path)
    return [Unit(name, tuple(paths)) for name, paths in sorted(folders.items())]


def closure(paths):
    """These files and all of this repository that they include."""
    seen, todo = set(), list(map(str, paths))
    while todo:
        path = todo.pop()
        if path in seen or not (sources.ROOT / path).is_file():
            continue
        seen.add(path)
        todo += _INCLUDE.findall(sources.text(path))
    return seen


def annotated_units():
    """The rooms, and each file beside them that says what a lock guards."""
    units = rooms()
    covered = set().union(*(closure(unit.paths) for unit in units))
    for path in sources.files(".h", ".cc"):
        if str(path) not in covered and _ANNOTATED.search(sources.text(path)):
            units.append(Unit(str(path), (path,)))
    return units


def generate():
    """The headers that Bazel would make: of the .proto files, and by genrules from VERSION."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    protos = [str(path) for path in sources.files(".proto", under="proto")]
    command = ["protoc", "-I.", f"--cpp_out={GENERATED}", f"--grpc_out={GENERATED}"]
    command += [f"--plugin=protoc-gen-grpc={shutil.which('grpc_cpp_plugin')}", *protos]
    subprocess.run(command, cwd=sources.ROOT, check=True)
    for build in sources.files("BUILD.bazel"):
        for rule in re.findall(r"^genrule\((.+?)^\)", sources.text(build), flags=re.M | re.S):
            values = dict(re.findall(r"^ {4}(\w+) = (.+),$", rule, flags=re.M))
            if values.get("srcs") != '["//:VERSION"]':
                continue
            (name,) = ast.literal_eval(values["outs"])
            out = GENERATED / build.parent / name
            out.parent.mkdir(parents=True, exist_ok=True)
            line = ast.literal_eval(values["cmd"]).replace("$<", "VERSION").replace("$@", str(out))
            subprocess.run(["sh", "-c", line.replace("$$", "$")], cwd=sources.ROOT, check=True)


def _command(tool, source):
    if tool == "locks":
        return ["clang++-14", *_FLAGS, *_LOCK_FLAGS, str(source)]
    tidy = ["clang-tidy-14", "--quiet", f"--config-file={sources.ROOT}/.clang-tidy"]
    tidy += [f"--checks={_TIDY_CHECKS}", "--header-filter=.*"]
    return [*tidy, str(source), "--", *_FLAGS]


def _stamp(tool, paths):
    """The file whose presence says that these files, as they are now, have passed."""
    tools = subprocess.run(["clang++-14", "--version"], check=True, capture_output=True).stdout
    read = hashlib.sha256(tools + repr(_command(tool, "")).encode())
    read.update(sources.text(".clang-tidy").encode())
    protos = sources.files(".proto", under="proto")
    for path in sorted(closure(paths) | set(map(str, protos))):
        read.update(path.encode() + b"\0" + (sources.ROOT / path).read_bytes())
    return OUT / tool / read.hexdigest()[:32]


def _run(tool, paths):
    """What was found in these files when they are read as one; empty: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/joined.cc"
        with open(source, "w") as joined:
            joined.writelines(f'#include "{path}"\n' for path in paths)
        done = subprocess.run(_command(tool, source), capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    return done.stdout if tool == "tidy" and done.stdout else done.stderr


def check(tool, paths):
    """What is wrong with these files themselves; empty: nothing."""
    stamp = _stamp(tool, paths)
    if stamp.exists():
        return ""
    found = _run(tool, paths)
    # What tidy finds in files that could be read as one is true of each of them.
    if found and len(paths) > 1 and (tool != "tidy" or "clang-diagnostic-error" in found):
        half = len(paths) // 2
        found = check(tool, paths[:half]) + check(tool, paths[half:])
    if not found:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    return found


def check_all(tool, names=()):
    """Yields (unit, what was found, seconds) of those units that are named, or of all."""
    generate()
    units = annotated_units() if tool == "locks" else rooms()
    units = [unit for unit in units if not names or unit.name in names]
    if not units:
        raise ValueError(f"no such room: {' '.join(names)}")

    def timed(unit):
        began = time.monotonic()
        return unit, check(tool, unit.paths), time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(timed, unit) for unit in units]
        for one in concurrent.futures.as_completed(running):
            yield one.result()


def main():
    tool, names = sys.argv[1], sys.argv[2:]
    failed = False
    for unit, found, seconds in check_all(tool, names):
        failed |= bool(found)
        print(f"{seconds:6.1f} s  {unit.name}: {found or 'passed'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
