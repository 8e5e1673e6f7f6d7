# SPDX-License-Identifier: Apache-2.0
"""./dev format [FILE…]: clang-format on C++, ruff on Python; without a file, on all."""

import pathlib
import subprocess
import sys

import sources


def main():
    named = {pathlib.Path(name).resolve().relative_to(sources.ROOT) for name in sys.argv[1:]}

    def chosen(*suffixes):
        found = sources.files(*suffixes)
        return [str(path) for path in found if not named or path in named]

    cc, python = chosen(*sources.CC), chosen(".py")
    if cc:
        subprocess.run(["clang-format-14", "-i", *cc], cwd=sources.ROOT, check=True)
    if python:
        ruff = [sys.executable, "-m", "ruff"]
        # Sorts imports and the like; what ruff cannot mend by itself is for the lint tests.
        subprocess.run([*ruff, "check", "--quiet", "--fix-only", *python], cwd=sources.ROOT)
        subprocess.run([*ruff, "format", "--quiet", *python], cwd=sources.ROOT, check=True)
    print(f"formatted {len(cc)} C++ files, {len(python)} Python files")


if __name__ == "__main__":
    main()
