# SPDX-License-Identifier: Apache-2.0
"""grpc.health.v1 without its stubs: one field in each direction."""

from __future__ import annotations

import grpc
from harness import HANG_S

SERVING, NOT_SERVING = 1, 2


def check(channel: grpc.Channel, service: str = "") -> int:
    """The status that Health.Check answers."""
    name = service.encode()
    ask = channel.unary_unary("/grpc.health.v1.Health/Check")
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    answer = ask(request, timeout=HANG_S)
    return answer[1] if answer else 0
