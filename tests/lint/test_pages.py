# SPDX-License-Identifier: Apache-2.0
"""What pages name is there: files, anchors, commands, flags, metrics, figures. And every page is
found by a reader who starts at README.md.
"""

import fnmatch
import json
import re

import pytest
import sources

_PAGES = [path for path in sources.files(".md") if path.name != "THIRD_PARTY.md"]
_TOP = {path.parts[0] for path in sources.files() if len(path.parts) > 1}
_CODE_SUFFIXES = (".h", ".cc", ".py", ".sh", ".proto", ".md", ".json", ".jsonl", ".bzl", ".lock")


def _fenced(text):
    return re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)


def _quoted(text):
    """What stands in `backticks` outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def _links(path):
    """(file, anchor) of the links of a page, relative to the root."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", sources.text(path), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        whole = (sources.ROOT / path.parent / file) if file else sources.ROOT / path
        yield whole.resolve().relative_to(sources.ROOT.resolve()), anchor


def _anchors(path):
    heads = re.findall(r"^#+ +(.+)$", sources.text(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_anchors_of_links_are_headings():
    wrong = []
    for path in _PAGES:
        for target, anchor in _links(path):
            if anchor and target.suffix == ".md" and anchor not in _anchors(target):
                wrong.append(f"{path}: {target}#{anchor}")
    assert not wrong, "\n".join(wrong)


def test_every_page_of_docs_is_found_from_the_readme():
    found, left = set(), {sources.files("README.md", under="README.md")[0]}
    while left:
        page = left.pop()
        found.add(page)
        for target, _ in _links(page):
            if target.suffix == ".md" and (sources.ROOT / target).exists():
                left |= {target} - found
            elif (sources.ROOT / target).is_dir():  # whoever opens the folder sees its pages
                left |= set(sources.files(".md", under=target)) - found
    lost = set(sources.files(".md", under="docs")) - found
    assert not lost, f"no link leads to {sorted(map(str, lost))}: add one to docs/ARCHITECTURE.md"


def _there():
    """Every file and folder, relative to the root."""
    paths = sources.files()
    return {str(path) for path in paths} | {str(up) for path in paths for up in path.parents}


_THERE = _there()
_NAMES = {name.rsplit("/", 1)[-1] for name in _THERE}


def _named_files(text):
    """(name, whether it says where) of what looks like a file; NAME and x_ stand for any."""
    for name in _quoted(text):
        name = name.split("::")[0].rstrip("/")
        if not re.fullmatch(r"[\w*-][\w.*/-]+", name) or re.search(r"[A-Z]{3,}\.|\bx[._]", name):
            continue
        if "/" in name and name.split("/")[0] in _TOP:
            yield name, True
        elif "/" not in name and name.endswith(_CODE_SUFFIXES):
            yield name, False


@pytest.mark.parametrize("path", _PAGES, ids=str)
def test_named_files_exist(path):
    missing = []
    for name, placed in _named_files(sources.text(path)):
        # By its place from the root, or from the page's folder; or anywhere.
        choices = [name, str(path.parent / name)] if placed else [name]
        if not any(fnmatch.filter(_THERE if placed else _NAMES, choice) for choice in choices):
            missing.append(name)
    assert not missing, f"{path} names what is not there: {missing}"


def _verbs():
    return set(re.findall(r"^ {2}([a-z-]+)\b", sources.text("dev").split("usage()")[1], re.M))


def _flags():
    """Names of flags that anything here takes or passes on, without the dashes."""
    tools = ["dev", ".bazelrc", *sources.files(".sh", ".py", under="scripts")]
    tools += sources.files(".py", under="tests/demo") + sources.files(".py", under="tests/bench")
    tools += sources.files(".py", under="client/examples")
    known = {"config", "version", "help", "test_env", "test_filter"}
    for path in tools:
        known |= set(re.findall(r"--([a-z][a-z_-]+)", sources.text(path)))
    for path in [*sources.files(".cc", under="gateway"), *sources.files(".cc", under="client")]:
        known |= set(re.findall(r'"(?:--)?([a-z]+(?:-[a-z]+)*)"', sources.text(path)))
    return known


# Acceptance pages also name what is still to come.
_DESCRIBING = [path for path in _PAGES if path.parent.name != "acceptance"]


@pytest.mark.parametrize("path", _DESCRIBING, ids=str)
def test_commands_and_flags_exist(path):
    code = [*_quoted(sources.text(path)), *"\n".join(_fenced(sources.text(path))).splitlines()]
    wrong = {f"./dev {verb}" for verb in re.findall(r"\./dev ([a-z][a-z-]*)", "\n".join(code))} - {
        f"./dev {verb}" for verb in _verbs()
    }
    own = [line for line in code if re.match(r" *(--|\./dev |kvgated? )", line)]
    flags = re.findall(r"(?<![\w-])--([a-z][a-z_-]+)", "\n".join(own))
    wrong |= {f"--{flag}" for flag in set(flags) - _flags()}
    assert not wrong, f"{path} names what is not there: {sorted(wrong)}"


def test_the_line_for_vllm_is_understood():
    line = re.search(r"--kv-transfer-config '([^']+)'", sources.text("README.md"))[1]
    extra = json.loads(line)["kv_connector_extra_config"]
    settings = sources.text("client/python/kvgate/vllm/settings.py")
    unknown = [name for name in extra if not re.search(rf"^    {name}: ", settings, re.M)]
    assert not unknown


def test_metrics_that_pages_name_are_in_the_page_of_metrics():
    listed = sources.text("docs/metrics.md")
    macros = sources.text("bazel/defs.bzl")
    wrong = []
    for path in sources.files(".md", under="docs"):
        if path.name == "threads.md":  # threads have such names too
            continue
        for name in re.findall(r"`kvgate_([a-zA-Z_]+)`", sources.text(path)):
            if f"def kvgate_{name}(" in macros:
                continue
            if f"| `{name}`" not in listed and f"| `kvgate_{name}`" not in listed:
                wrong.append(f"{path}: kvgate_{name}")
    assert not wrong, "\n".join(wrong)


def test_figures_of_the_lineage_are_those_of_the_benchmarks():
    measured = sources.text("docs/benchmarks.md")
    named = re.findall(r"`(\w+)` = ([\d.,]*\d)", sources.text("docs/lineage.md"))
    assert named, "docs/lineage.md names figures as `name` = value"
    wrong = [(name, value) for name, value in named if f"| {name} | {value} |" not in measured]
    assert not wrong, f"not what docs/benchmarks.md says: {wrong}"


def test_every_named_thread_is_in_the_page_of_threads():
    page = sources.text("docs/threads.md")
    named = r"(?:SetThreadName|setname_np)\([^\"\n]*\"([a-z_-]+)\""
    paths = [path for path in sources.files(".cc") if not path.name.endswith("_test.cc")]
    names = {name for path in paths for name in re.findall(named, sources.text(path))}
    assert len(names) > 10
    missing = [name for name in names if f"`{name}" not in page]
    assert not missing, f"docs/threads.md does not say who starts and joins {sorted(missing)}"


def test_the_cli_asks_for_counters_that_exist():
    page = sources.text("docs/metrics.md")
    known = set(re.findall(r"^\| `([a-zA-Z_]+)`", page, flags=re.MULTILINE))
    asked = set()
    for path in sources.files(".cc"):
        if path.parts[:2] != ("client", "cli") or path.name.endswith("_test.cc"):
            continue
        text = sources.text(path)
        asked |= set(re.findall(r'(?:Rate|Value)\("([a-z_A-Z]+)"\)', text))
        asked |= set(re.findall(r'counter\.name\(\) == "([a-z_]+)"', text))
    assert len(asked) > 15
    assert not asked - known
