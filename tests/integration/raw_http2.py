# SPDX-License-Identifier: Apache-2.0
"""One gRPC call in hand-made HTTP/2 frames, for what client libraries refuse to send."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _header(name: str, value: str) -> bytes:
    """Literal without indexing, no Huffman code, both shorter than 127 bytes."""
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def call(path: Path, method: str, message: bytes, extra: dict[str, str]) -> bytes:
    """Sends one unary call; answers the payload of all HEADERS frames of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(1, method, message, extra)
        )
        return _read_answer(connection)


def never_read(path: Path, method: str, messages: list[bytes]) -> socket.socket:
    """Sends the calls on one connection, without deadlines; nobody reads their answers."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    frames = [_request(2 * i + 1, method, message, {}) for i, message in enumerate(messages)]
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + b"".join(frames))
    return connection


def half_sent(path: Path, method: str, message_bytes: int) -> socket.socket:
    """Begins a call of that many bytes and stops in the middle of it; nobody reads the answer."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    prefix = b"\0" + struct.pack(">I", message_bytes)
    frames = _headers(1, method, {}) + _frame(_DATA, 0, 1, prefix + bytes(message_bytes // 100))
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + frames)
    return connection


def _headers(stream: int, method: str, extra: dict[str, str]) -> bytes:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        **extra,
    }
    block = b"".join(_header(name, value) for name, value in headers.items())
    return _frame(_HEADERS, _END_HEADERS, stream, block)


def _request(stream: int, method: str, message: bytes, extra: dict[str, str]) -> bytes:
    body = b"\0" + struct.pack(">I", len(message)) + message
    return _headers(stream, method, extra) + _frame(_DATA, _END_STREAM, stream, body)


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data


def _read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        head = _read_exactly(connection, 9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = _read_exactly(connection, size)
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            raise ConnectionError(f"GOAWAY {payload!r}")
        elif stream == 1 and kind == _HEADERS:
            answer += payload
            if flags & _END_STREAM:
                return answer
        elif stream == 1 and kind == _RST:
            return answer


def grpc_status(answer: bytes) -> int | None:
    """The number after a literal grpc-status header; servers send it uncompressed."""
    name = b"grpc-status"
    at = answer.find(name)
    if at < 0:
        return None
    length = answer[at + len(name)]
    return int(answer[at + len(name) + 1 : at + len(name) + 1 + length])
