# SPDX-License-Identifier: Apache-2.0
"""Locks guard what they say, clang-tidy's short list finds nothing, and both see mistakes."""

import clang_checks
import pytest

_UNGUARDED = """
#include "absl/synchronization/mutex.h"
class Counter {
 public:
  void Add() { ++value_; }
 private:
  absl::Mutex mutex_;
  int value_ ABSL_GUARDED_BY(mutex_) = 0;
};
void Use() { Counter().Add(); }
"""
_GUARDED = _UNGUARDED.replace("{ ++", "{ absl::MutexLock lock(&mutex_); ++")
_MOVED = """
#include <string>
#include <utility>
std::string Twice(std::string text) {
  std::string first = std::move(text);
  return first + text;
}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file(text) -> a path to check, with stamps of its own."""
    monkeypatch.setattr(clang_checks, "OUT", tmp_path / "out")

    def write(text, name="one.cc"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_locks_guard_what_they_say():
    results = list(clang_checks.check_all("locks"))
    assert len(results) > 10
    wrong = [found for _, found, _ in results if found]
    assert not wrong, "\n".join(wrong)


def test_tidy_finds_nothing_in_what_is_shipped():
    results = list(clang_checks.check_all("tidy"))
    assert len(results) > 10
    wrong = [found for _, found, _ in results if found]
    assert not wrong, "\n".join(wrong)


def test_what_is_read_without_its_lock_is_found(file):
    assert "requires holding mutex 'mutex_'" in clang_checks.check("locks", (file(_UNGUARDED),))
    assert clang_checks.check("locks", (file(_GUARDED),)) == ""


def test_a_mistake_that_tidy_knows_is_found(file):
    assert "bugprone-use-after-move" in clang_checks.check("tidy", (file(_MOVED),))


def test_files_that_cannot_be_read_as_one_are_read_apart(file):
    one = file("namespace { int Twice(int n) { return 2 * n; } }\nint One() { return Twice(1); }\n")
    other = file(one.read_text().replace("One", "Other"), "other.cc")
    bad = file("int Bad() { return nothing; }\n", "bad.cc")
    assert clang_checks.check("locks", (one, other)) == ""
    found = clang_checks.check("locks", (one, other, bad))
    assert "bad.cc" in found and "Twice" not in found


def test_what_passed_is_not_read_again_until_it_changes(file, monkeypatch):
    path = file(_GUARDED)
    assert clang_checks.check("locks", (path,)) == ""
    monkeypatch.setattr(clang_checks, "_run", lambda tool, paths: "was read again")
    assert clang_checks.check("locks", (path,)) == ""
    file(_GUARDED + "\n")
    assert clang_checks.check("locks", (path,)) == "was read again"
