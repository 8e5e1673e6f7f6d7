# SPDX-License-Identifier: Apache-2.0
"""scripts/count_cases.py: what ./dev test says is what ran."""

import json
import subprocess
import sys

import pytest
import sources

_GTEST = """<testsuites><testsuite name="Suite">
{cases}
</testsuite></testsuites>"""
_PASSED = '<testcase name="{0}" classname="Suite" status="run" result="completed" time="1"/>'
_FAILED = '<testcase name="{0}" classname="Suite" status="run"><failure message="no"/></testcase>'
_SKIPPED = '<testcase name="{0}" classname="Suite" status="run"><skipped message="x"/></testcase>'
_DISABLED = '<testcase name="{0}" classname="Suite" status="notrun" result="suppressed"/>'


class Counter:
    """Writes what Bazel or pytest would have written, then counts it."""

    def __init__(self, folder):
        self.folder = folder
        self.events = []
        self.allowed = folder / "allowed_skips"
        self.allowed.write_text("# none\n")

    def add_target(self, label, cases, status="PASSED"):
        """A test target; cases is None when it left no test.xml."""
        outputs = [{"name": "test.log", "uri": "file:///nowhere"}]
        if cases is not None:
            xml = self.folder / f"{len(self.events)}.xml"
            xml.write_text(_GTEST.format(cases="\n".join(cases)))
            outputs.append({"name": "test.xml", "uri": xml.as_uri()})
        built = status != "FAILED_TO_BUILD"
        completed = {"success": True} if built else {}
        self.events += [{"id": {"targetCompleted": {"label": label}}, "completed": completed}]
        if built:
            result = {"status": status, "testActionOutput": outputs}
            self.events += [
                {"id": {"testResult": {"label": label}}, "testResult": result},
                {"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status}},
            ]

    def bazel(self, runner_status):
        path = self.folder / "events.json"
        path.write_text("\n".join(json.dumps(event) for event in self.events))
        return self._count("--bazel", path, runner_status)

    def pytest(self, test, runner_status):
        """Runs pytest itself on the text of a test file."""
        (self.folder / "tests").mkdir(exist_ok=True)
        (self.folder / "tests/test_it.py").write_text(test)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"]
        command += ["--junitxml=it.xml", "-o", "junit_family=xunit1"]
        subprocess.run(command, cwd=self.folder, capture_output=True)
        return self._count("--junit", self.folder / "it.xml", runner_status)

    def _count(self, kind, path, runner_status):
        done = subprocess.run(
            [
                *(sys.executable, sources.ROOT / "scripts/count_cases.py", kind, path),
                *(f"--runner-status={runner_status}", f"--allowed-skips={self.allowed}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        self.said = done.stderr
        return tuple(int(count) for count in done.stdout.split())


@pytest.fixture
def counter(tmp_path):
    return Counter(tmp_path)


def test_cases_are_counted_and_not_targets(counter):
    counter.add_target("//a:x_test", [_PASSED.format("One"), _PASSED.format("Two")])
    counter.add_target("//a:y_test", [_PASSED.format("One")])
    assert counter.bazel(0) == (3, 0, 0)


def test_a_failed_case_is_named(counter):
    counter.add_target("//a:x_test", [_PASSED.format("One"), _FAILED.format("Two")], "FAILED")
    assert counter.bazel(3) == (1, 1, 0)
    assert "FAILED //a:x_test::Suite.Two" in counter.said


def test_a_target_that_failed_without_a_failed_case_is_one_failure(counter):
    counter.add_target("//a:x_test", [_PASSED.format("One")], "TIMEOUT")
    counter.add_target("//a:y_test", None, "FAILED")
    assert counter.bazel(3) == (1, 2, 0)


def test_a_target_that_does_not_build_is_one_failure(counter):
    counter.add_target("//a:x_test", [_PASSED.format("One")])
    counter.add_target("//a:y_test", None, "FAILED_TO_BUILD")
    assert counter.bazel(1) == (1, 1, 0)


def test_a_target_without_a_case_is_one_failure(counter):
    counter.add_target("//a:x_test", [])
    assert counter.bazel(0) == (0, 1, 0)


def test_an_exit_status_that_no_case_explains_is_one_failure(counter):
    counter.add_target("//a:x_test", [_PASSED.format("One")])
    assert counter.bazel(36) == (1, 1, 0)


def test_a_skip_must_be_listed(counter):
    cases = [_PASSED.format("One"), _SKIPPED.format("Two"), _DISABLED.format("Three")]
    counter.add_target("//a:x_test", cases)
    assert counter.bazel(0) == (1, 2, 0)
    counter.allowed.write_text("//a:x_test::Suite.T*  needs what is not here\n")
    assert counter.bazel(0) == (1, 0, 2)


def test_a_tag_that_no_target_carries_is_a_failure(counter):
    assert counter.bazel(4) == (0, 1, 0)
    assert "no case found" in counter.said


def test_pytest_cases_are_counted(counter):
    test = """
import pytest
class TestIt:
    @pytest.mark.parametrize("n", [1, 2])
    def test_passes(self, n): pass
def test_fails(): assert False
@pytest.mark.skip(reason="no such device")
def test_skipped(): pass
@pytest.mark.xfail
def test_expected_to_fail(): assert False
@pytest.fixture
def broken(): raise RuntimeError
def test_cannot_start(broken): pass
"""
    assert counter.pytest(test, 1) == (2, 4, 0)
    assert "FAILED tests/test_it.py::test_skipped: skipped, and not in" in counter.said
    counter.allowed.write_text("tests/test_it.py::test_skipped x\n")
    assert counter.pytest(test, 1) == (2, 3, 1)


def test_a_pytest_file_that_cannot_be_read_is_a_failure(counter):
    assert counter.pytest("import nothing_of_this_name", 2) == (0, 1, 0)


def test_a_folder_without_a_case_is_a_failure(counter):
    assert counter.pytest("", 5) == (0, 1, 0)
