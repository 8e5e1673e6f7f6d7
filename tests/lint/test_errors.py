# SPDX-License-Identifier: Apache-2.0
"""Every error id that code names is in the table, every one of the table is named by code, and the
table is the page.
"""

import re

import sources

_TABLE = "proto/wire/error_table.h"


def _numbers():
    """name of the enumerator -> KVG101"""
    named = re.findall(r"^  k(\w+) = (\d{3}),$", sources.text("proto/wire/error_id.h"), re.M)
    assert len(named) > 40
    return {f"k{name}": f"KVG{number}" for name, number in named}


def _entries():
    """(enumerator, name in words) of the table, in its order."""
    return re.findall(r"^    \{(k\w+),\s+\"([a-z-]+)\",", sources.text(_TABLE), re.M)


def _used_in_cc():
    used = set()
    for path in sources.files(".cc", ".h"):
        if not str(path).startswith("proto/wire/error_") and not path.name.endswith("_test.cc"):
            used |= set(re.findall(r"\bErrorId::(k\w+)", sources.text(path)))
    # A failure of which a door knows the code only.
    codes = sources.text("proto/wire/error_id.cc").split("ErrorId ErrorOf(")[1].split("\n}\n")[0]
    return used | set(re.findall(r"return ErrorId::(k\w+)", codes))


def _used_in_python():
    paths = sources.files(".py", under="client/python")
    return {found for path in paths for found in re.findall(r"\bKVG\d{3}\b", sources.text(path))}


def test_the_table_has_every_enumerator_under_its_own_name():
    wanted = [
        (name, re.sub(r"(?<!^)(?=[A-Z])", "-", name[1:]).lower()) for name in sorted(_numbers())
    ]
    assert sorted(_entries()) == wanted


def test_no_number_is_given_twice():
    numbers = list(_numbers().values())
    assert sorted(set(numbers)) == numbers


def test_every_id_in_python_is_in_the_table():
    lost = _used_in_python() - set(_numbers().values())
    assert not lost, f"{sorted(lost)}: not in proto/wire/error_id.h"


def test_every_id_of_the_table_is_used():
    numbers = _numbers()
    used = {numbers[name] for name in _used_in_cc()} | _used_in_python()
    unused = {name: number for name, number in numbers.items() if number not in used}
    assert not unused, f"nothing says {unused}"


def test_the_page_has_every_entry_and_no_other():
    heads = re.findall(r"^### (KVG\d{3}) ([a-z-]+)$", sources.text("docs/troubleshooting.md"), re.M)
    numbers = _numbers()
    assert heads == [(numbers[name], words) for name, words in _entries()], (
        "write it anew: kvgate errors --markdown > docs/troubleshooting.md"
    )
