# SPDX-License-Identifier: Apache-2.0
"""Words that have no business in this repository.

The patterns are put together from pieces so that this file does not find itself.
"""

import re

import pytest
import sources

# Names of other people's packages, which may be any word.
_LISTS = (".lock", "LICENSE", "NOTICE", "THIRD_PARTY.md")

_FORBIDDEN = {
    "the host of a package registry": [
        r"pypi\." + "org",
        r"python" + r"hosted\.",
        r"crates\." + "io",
        r"registry\." + r"npmjs",
        r"proxy\." + r"golang\.",
        r"repo1?\." + r"maven",
        r"deb\." + r"debian\.",
    ],
    "a path of one machine": [
        r"/wo" + r"rk/(main|shared|\.)",
        r"/ro" + r"ot/",
        r"/ho" + r"me/\w",
        r"/tmp/" + r"(setup|bz_|clean_)",
        r"\." + "pyenv",
    ],
    "a page that is not in the repository": [
        r"\.\./" + "shared",
        r"shared/" + r"(README|design|craft|field|origin|toolchain|engine|vllm|peers|kvrocks)",
        r"(?i)\b(engine|craft)[- ](rules?|notes?)\b",
        r"(?i)\brules? \d+\b",
        r"(?i)\bdesign(\.md)?,? (section )?§?\d+",
        r"\b(craft|toolchain|origin|peers|engine-(rules|notes))" + r"\.md",
        r"(?i)(?<![-\w/#])issue #?\d+\b",
    ],
    "how or by whom it was written": [
        r"(?i)\bcl" + r"aude\b",
        r"(?i)\banth" + r"ropic\b",
        r"(?i)\bchat" + r"gpt\b",
        r"(?i)\bcop" + r"ilot\b",
        r"(?i)\bAI[- ](gen|assist|writ|agent)",
        r"(?i)\b(as|by) an? (AI|(large )?language " + r"model)\b",
        r"(?i)\bcoding " + r"agent",
        r"(?i)\b(my|this|previous|next|later|earlier) work " + r"session",
        r"(?i)\bthe " + r"brief\b",
        r"(?i)\bcol" + r"leagues?\b",
        r"(?i)\bhuman (written|reviewer|author)",
    ],
    "work that was left": [
        r"\bTO" + r"DO\b",
        r"\bFIX" + r"ME\b",
        r"\bXX" + r"X\b",
    ],
}


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_contains(what):
    patterns = [re.compile(pattern) for pattern in _FORBIDDEN[what]]
    wrong = []
    for path in sources.files():
        if path.name.endswith(_LISTS) or "data" in path.parts or not sources.is_text(path):
            continue
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            found = [match[0] for match in (pattern.search(line) for pattern in patterns) if match]
            if found:
                wrong.append(f"{path}:{number}: {found}")
    assert not wrong, "\n".join(wrong)
