# SPDX-License-Identifier: Apache-2.0
"""Counts test cases in what Bazel or pytest wrote: prints PASSED FAILED SKIPPED.

A case is one googletest case, one pytest case, or one program that is neither. Failed are also: a
Bazel target that failed without a failed case in its test.xml, a target that holds no case, a
group in which no case was found, a runner that failed for a reason that no case shows, and a
skipped case that tests/allowed_skips does not list. Each failure is named on stderr.
"""

import argparse
import fnmatch
import json
import pathlib
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field


@dataclass
class Case:
    """One test case: `name` is what tests/allowed_skips matches."""

    name: str
    outcome: str  # passed | failed | skipped
    seconds: float = 0.0
    reason: str = ""


@dataclass
class Target:
    """One Bazel target of the build event file."""

    logs: list = field(default_factory=list)
    passed: bool = True
    is_test: bool = False


def read_cases(xml_path, name_of):
    """The cases of one test.xml or junit file, named by name_of(testcase element)."""
    cases = []
    for element in ElementTree.parse(xml_path).iter("testcase"):
        children = {child.tag: child for child in element}
        bad = children.get("failure", children.get("error"))
        skip = children.get("skipped")
        # A disabled googletest case has no child, only this attribute.
        not_run = element.get("status") == "notrun"
        if bad is not None:
            outcome, reason = "failed", bad.get("message") or ""
        elif skip is not None or not_run:
            outcome = "skipped"
            reason = "disabled" if skip is None else skip.get("message") or ""
        else:
            outcome, reason = "passed", ""
        seconds = float(element.get("time") or 0)
        cases.append(Case(name_of(element), outcome, seconds, reason.split("\n")[0]))
    return cases


def pytest_name(element):
    """tests/x/test_y.py::Class::test_z[1], as pytest itself writes it."""
    path = element.get("file") or element.get("classname", "").replace(".", "/") + ".py"
    module = path.removesuffix(".py").replace("/", ".")
    inside = element.get("classname", "").removeprefix(module).strip(".")
    return "::".join(part for part in (path, inside, element.get("name")) if part)


def pytest_cases(junit_path):
    return read_cases(junit_path, pytest_name)


def bazel_name(label, element):
    """//room:x_test::Suite.Case, or only the label for a program that is not googletest."""
    name = element.get("name")
    if "/" + name == label[1:].replace(":", "/"):
        return label
    return f"{label}::{element.get('classname')}.{name}"


def read_targets(events_path):
    """The targets of a build event file, by label."""
    targets = {}
    for line in pathlib.Path(events_path).read_text().splitlines():
        event = json.loads(line)
        identity = event.get("id", {})
        kind = next(iter(identity), "")
        if kind not in ("testResult", "testSummary", "targetCompleted"):
            continue
        target = targets.setdefault(identity[kind]["label"], Target())
        if kind == "targetCompleted":
            target.passed &= event.get("completed", {}).get("success", False)
        elif kind == "testSummary":
            target.is_test = True
            target.passed &= event.get("testSummary", {}).get("overallStatus") == "PASSED"
        else:
            target.is_test = True
            outputs = event.get("testResult", {}).get("testActionOutput", [])
            target.logs += [output["uri"] for output in outputs if output["name"] == "test.xml"]
    return targets


def bazel_cases(events_path):
    """The cases of all targets, and one failed case for each target that failed without any."""
    cases = []
    for label, target in sorted(read_targets(events_path).items()):
        found = []
        for uri in target.logs:
            path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
            found += read_cases(path, lambda element, label=label: bazel_name(label, element))
        if not target.passed and all(case.outcome != "failed" for case in found):
            found.append(Case(label, "failed", reason="failed without a failed case"))
        elif target.is_test and not found:
            found.append(Case(label, "failed", reason="holds no case"))
        cases += found
    return cases


def listed(name, patterns):
    """Whether a pattern of the file matches this case; [ ] are ordinary letters there."""
    return any(fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns)


def read_allowed_skips(path):
    """The first word of each line; the rest of it is the reason."""
    lines = pathlib.Path(path).read_text().splitlines() if pathlib.Path(path).exists() else []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def collect(arguments):
    """All cases of the group, with the failures that only the runner's exit status shows."""
    status = arguments.runner_status
    path, read = arguments.bazel, bazel_cases
    if arguments.junit:
        path, read = arguments.junit, pytest_cases
    cases = read(path) if pathlib.Path(path).exists() else []
    if not cases:
        cases.append(Case(path, "failed", reason="no case found"))
    failed = any(case.outcome == "failed" for case in cases)
    if status != 0 and not failed:
        cases.append(Case("runner", "failed", reason=f"exit status {status}"))
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bazel", help="a build event JSON file")
    source.add_argument("--junit", help="a junit XML file")
    parser.add_argument("--runner-status", type=int, default=0)
    parser.add_argument("--allowed-skips", required=True)
    parser.add_argument("--slowest", type=int, default=0, help="also name this many slow cases")
    arguments = parser.parse_args()

    cases = collect(arguments)
    allowed = read_allowed_skips(arguments.allowed_skips)
    for case in cases:
        if case.outcome == "skipped" and not listed(case.name, allowed):
            case.outcome = "failed"
            case.reason = f"skipped, and not in {arguments.allowed_skips}: {case.reason}"
        if case.outcome != "passed":
            print(f"{case.outcome.upper()} {case.name}: {case.reason}", file=sys.stderr)
    for case in sorted(cases, key=lambda case: -case.seconds)[: arguments.slowest]:
        print(f"{case.seconds:8.1f} s  {case.name}", file=sys.stderr)
    outcomes = [case.outcome for case in cases]
    print(*(outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")))


if __name__ == "__main__":
    main()
