# SPDX-License-Identifier: Apache-2.0
"""Prose that can be checked: links lead somewhere, and each acceptance row names a test that runs.

The form of docs/acceptance/*.md is in README.md beside this file.
"""

import ast
import fnmatch
import re

import sources

_COLUMNS = ["what", "test", "last result"]


def test_links_between_pages_lead_somewhere():
    wrong = []
    for path in sources.files(".md"):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", sources.text(path), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (sources.ROOT / path.parent / target.split("#")[0]).exists():
                wrong.append(f"{path}: {target}")
    assert not wrong, "\n".join(wrong)


def _rows():
    """(page, cells) of the tables in docs/acceptance whose head is _COLUMNS."""
    for path in sources.files(".md", under="docs/acceptance"):
        in_table = False
        for line in sources.text(path).splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not line.startswith("|"):
                in_table = False
            elif cells == _COLUMNS:
                in_table = True
            elif in_table and not re.fullmatch(r"[-:| ]+", line):
                yield path, cells


def _allowed_skips():
    lines = sources.text("tests/allowed_skips").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def _bazel_problem(label):
    """//room:x_test or //room:x_test::Suite.Case"""
    target, _, case = label.partition("::")
    package, _, name = target.removeprefix("//").partition(":")
    build = sources.ROOT / package / "BUILD.bazel"
    if not build.exists() or f'name = "{name}"' not in build.read_text():
        return "no such target"
    if not case:
        return None
    suite, _, test = case.partition(".")
    written = rf"TEST(_F|_P)?\(\s*{suite},\s*{test}\s*\)|TYPED_TEST(_P)?\(\s*{suite},\s*{test}\s*\)"
    files = sources.files(".cc", ".h", under=package)
    if not any(re.search(written, sources.text(path)) for path in files):
        return "no such case in this package"
    return None


def _skip_problem(node):
    marks = [ast.unparse(decorator) for decorator in node.decorator_list]
    skipped = any(mark.startswith(("pytest.mark.skip(", "pytest.mark.xfail")) for mark in marks)
    return "this test is skipped" if skipped else None


def _pytest_problem(name):
    """tests/x/test_y.py (every test in it), or with ::test_z or ::TestClass::test_z"""
    file, *inside = name.split("[")[0].split("::")
    if not (sources.ROOT / file).is_file():
        return "no such file"
    scope = ast.parse(sources.text(file)).body
    if not inside:
        tests = [node for node in scope if getattr(node, "name", "").startswith("test_")]
        problems = [problem for problem in map(_skip_problem, tests) if problem]
        return next(iter(problems), None) if tests else "no test in this file"
    for part in inside:
        found = [node for node in scope if getattr(node, "name", None) == part]
        if not found:
            return "no such test in this file"
        if problem := _skip_problem(found[0]):
            return problem
        scope = found[0].body
    return None


def _problem(name):
    if any(fnmatch.fnmatchcase(name, skip.replace("[", "[[]")) for skip in _allowed_skips()):
        return "this test may be skipped: it proves nothing"
    if name.startswith("//"):
        return _bazel_problem(name)
    if name.startswith("bench:"):
        bench = f"tests/bench/{name.removeprefix('bench:')}.py"
        return None if (sources.ROOT / bench).is_file() else f"no {bench}"
    return _pytest_problem(name)


def test_each_acceptance_row_names_a_test_that_runs():
    wrong = []
    for page, cells in _rows():
        if len(cells) != len(_COLUMNS) or not all(cells):
            wrong.append(f"{page}: not three full cells: {cells}")
            continue
        names = re.findall(r"`([^`]+)`", cells[1])
        if not names:
            wrong.append(f"{page}: no test named for '{cells[0]}'")
        problems = [(name, _problem(name)) for name in names]
        wrong += [f"{page}: {name}: {problem}" for name, problem in problems if problem]
    assert not wrong, "\n".join(wrong)


def test_every_acceptance_page_has_rows():
    pages = set(sources.files(".md", under="docs/acceptance"))
    assert pages - {page for page, _ in _rows()} == set(), (
        "a page without a table of the right head"
    )
