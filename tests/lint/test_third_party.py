# SPDX-License-Identifier: Apache-2.0
"""THIRD_PARTY.md names what is linked, copied and used, and nothing else. Versions may move."""

import email
import re

import sources
import third_party


def test_the_page_has_the_names_of_today():
    listed = re.findall(r"^\| ([^|]+) \|", sources.text(third_party.PAGE), re.M)
    heads = {"Debian package", "file", "program", "package"}
    named = {name for name in listed if name not in heads}
    names = third_party.all_names()
    assert names - named == set(), "run ./dev third-party"
    assert named - names == set(), "no longer used: run ./dev third-party"


def test_what_was_copied_is_there():
    missing = [path for path in third_party.COPIED if not (sources.ROOT / path).is_file()]
    assert not missing


def test_a_long_licence_is_named_by_its_classifier():
    text = "License: " + "x" * 99 + "\nClassifier: License :: OSI Approved :: BSD License\n\n"
    assert third_party.licence_of(email.message_from_string(text)) == "BSD License"


def test_a_licence_expression_wins():
    text = "License: Apache\nLicense-Expression: Apache-2.0 OR MIT\n\n"
    assert third_party.licence_of(email.message_from_string(text)) == "Apache-2.0 OR MIT"
