# SPDX-License-Identifier: Apache-2.0
"""Ids at the end of messages, as in proto/wire/error_id.h: `kvgate errors KVG101` says the rest."""

from __future__ import annotations

import re

_ENDS_WITH_ID = re.compile(r" \[KVG\d{3}\]$")


def tagged(error_id: str, text: str) -> str:
    """`text` with its id at the end; the first one, of where the error was found, stays."""
    return text if _ENDS_WITH_ID.search(text) else f"{text} [{error_id}]"
