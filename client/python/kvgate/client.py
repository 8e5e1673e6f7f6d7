# SPDX-License-Identifier: Apache-2.0
"""Client: the calls of client/client.h for Python.

Promises: every call returns by its time-out; no call raises because of the gateway (a miss has a
Reason, a failed call a Code); TypeError and ValueError are the caller's own mistakes, LibraryError
is the installation's. Thread-safe; the GIL is free while a call waits. After fork, make another.
Memory that pieces name must stay valid until the call returns; afterwards nothing is written to it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_uint64
from types import TracebackType

from kvgate import _abi
from kvgate._abi import Bytes
from kvgate.identity import Identity
from kvgate.pieces import KeyTable, Pieces, PieceTable, ValueMemory, bytes_address
from kvgate.types import (
    Advice,
    BreakerState,
    Code,
    Durability,
    GetResult,
    Granted,
    GroupHeld,
    GroupQuery,
    Hints,
    Limits,
    LookupResult,
    Match,
    Namespace,
    OfferResult,
    OfferState,
    Reason,
    Results,
    SetEntry,
    SetMode,
    SetResult,
    Stats,
    Status,
    Tier,
)

_VERIFY = {"default": 0, "always": 1, "sampled": 2, "never": 3}
_REASONS = tuple(Reason)
_TIERS = tuple(Tier)
_NO_HINTS = Hints()
_U64 = (1 << 64) - 1

Targets = PieceTable | Sequence[Pieces]


def _reason(number: int) -> Reason:
    return _REASONS[number] if number < len(_REASONS) else Reason.INTERNAL


def _tier(number: int) -> Tier:
    return _TIERS[number] if number < len(_TIERS) else Tier.NONE


def _code(number: int) -> Code:
    return Code(number) if 0 <= number <= 16 else Code.UNKNOWN


def _error_room() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(_abi.ERROR_BYTES)


def _text(error: ctypes.Array[ctypes.c_char]) -> str:
    return bytes(error.value).decode(errors="replace")


def _status(code: int, error: ctypes.Array[ctypes.c_char]) -> Status:
    return Status(_code(code), _text(error))


def _bytes(data: bytes) -> Bytes:
    """A view of an object that the caller keeps."""
    return Bytes(bytes_address(data), len(data))


def _number(ns: Namespace | int) -> int:
    return ns.ns if isinstance(ns, Namespace) else ns


class Client:
    """Connects by itself, inside the time-outs of its calls; a missing gateway is no error."""

    def __init__(
        self,
        transport: str = "auto",
        local_socket: str | None = None,
        grpc_target: str | None = None,
        client_name: str = "",
        producer: int = 0,
        staging_bytes: int = 32 << 20,
        verify: str = "default",
        library: str | None = None,
        *,
        grpc_library: str | None = None,
        connect_timeout_ms: int = 0,
        breaker_open_ms: int = 0,
        token: str = "",
        token_file: str = "",
    ) -> None:
        self._handle: int | None = None
        if verify not in _VERIFY:
            raise ValueError(f"verify: {verify!r} is none of {', '.join(_VERIFY)}")
        self._lib = _abi.load(library)
        grpc_library = grpc_library or _abi.grpc_library_path()
        options = _abi.Options(
            transport=transport.encode(),
            local_socket=(local_socket or "").encode(),
            grpc_target=(grpc_target or "").encode(),
            grpc_library=(grpc_library or "").encode(),
            client_name=client_name.encode(),
            producer=producer,
            staging_bytes=staging_bytes,
            verify=_VERIFY[verify],
            connect_timeout_ms=connect_timeout_ms,
            breaker_open_ms=breaker_open_ms,
            token=token.encode(),
            token_file=token_file.encode(),
        )
        handle = ctypes.c_void_p()
        error = _error_room()
        if self._lib.kvgate_client_create(byref(options), byref(handle), error):
            raise ValueError(_text(error))
        self._handle = handle.value

    def close(self) -> None:
        """Ends the connection. Other calls must have returned."""
        handle, self._handle = self._handle, None
        if handle:
            self._lib.kvgate_client_destroy(handle)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _open_handle(self) -> int:
        if not self._handle:
            raise ValueError("the client is closed")
        return self._handle

    def open(
        self,
        identity: Identity | bytes,
        alias: str = "",
        required_features: Sequence[int] = (),
        timeout_ms: float = 200,
    ) -> Namespace:
        """Opens the namespace of an identity; again with the same one: the same number."""
        raw = identity.encode() if isinstance(identity, Identity) else bytes(identity)
        features = 0
        for feature in required_features:
            features |= 1 << feature
        ns = c_uint64()
        result = _abi.OpenResult()
        error = _error_room()
        code = self._lib.kvgate_open(
            self._open_handle(),
            _bytes(raw),
            alias.encode(),
            features,
            timeout_ms,
            byref(ns),
            byref(result),
            error,
        )
        if code:
            text = _text(error)
            return Namespace(ns=ns.value, available=False, code=_code(code), error=text)
        return _namespace(ns.value, result)

    def lookup(
        self,
        ns: Namespace | int,
        keys: Sequence[bytes],
        *,
        group: int = 0,
        match: int = Match.PREFIX,
        window_blocks: int = 0,
        block_tokens: int = 0,
        first_wanted_tokens: int = 0,
        shards: int = 0,
        pin_ms: int = 0,
        stage: bool = False,
        answer_by_ms: int = 0,
        recompute_ms_per_token: float = 0.0,
        timeout_ms: float = 10,
    ) -> LookupResult:
        """What of a chain (all its keys from token 0) is held."""
        return self.lookup_groups(
            ns,
            [GroupQuery(group, keys, match, window_blocks, block_tokens)],
            first_wanted_tokens=first_wanted_tokens,
            shards=shards,
            pin_ms=pin_ms,
            stage=stage,
            answer_by_ms=answer_by_ms,
            recompute_ms_per_token=recompute_ms_per_token,
            timeout_ms=timeout_ms,
        )

    def lookup_groups(
        self,
        ns: Namespace | int,
        queries: Sequence[GroupQuery],
        *,
        first_wanted_tokens: int = 0,
        shards: int = 0,
        pin_ms: int = 0,
        stage: bool = False,
        answer_by_ms: int = 0,
        recompute_ms_per_token: float = 0.0,
        timeout_ms: float = 10,
    ) -> LookupResult:
        tables = [KeyTable(query.keys) for query in queries]
        rows = (_abi.Query * len(queries))()
        held = (_abi.GroupHeld * len(queries))()
        bitmaps: dict[int, ctypes.Array[ctypes.c_char]] = {}
        for i, (row, query, table) in enumerate(zip(rows, queries, tables, strict=True)):
            row.group, row.match = query.group, query.match
            row.window_blocks, row.block_tokens = query.window_blocks, query.block_tokens
            row.keys, row.keys_count = table.address, table.count
            if query.match == Match.MEMBERSHIP:
                bitmaps[i] = ctypes.create_string_buffer((table.count + 7) // 8)
                held[i].bitmap = ctypes.addressof(bitmaps[i])
                held[i].bitmap_bytes = len(bitmaps[i])
        request = _abi.LookupRequest(
            ns=_number(ns),
            queries=ctypes.addressof(rows),
            queries_count=len(queries),
            first_wanted_tokens=first_wanted_tokens,
            shards=shards,
            pin_ms=pin_ms,
            stage=stage,
            answer_by_ms=answer_by_ms,
            recompute_ms_per_token=recompute_ms_per_token,
        )
        result = _abi.LookupResult(held=ctypes.addressof(held), held_count=len(queries))
        error = _error_room()
        code = self._lib.kvgate_lookup(
            self._open_handle(), byref(request), timeout_ms, byref(result), error
        )
        if code:
            return LookupResult(_code(code), error=_text(error))
        return _lookup_result(result, held, {i: bitmap.raw for i, bitmap in bitmaps.items()})

    def get_into(
        self,
        ns: Namespace | int,
        pieces: Targets,
        *,
        keys: Sequence[bytes] | None = None,
        pin_token: int = 0,
        first: int = 0,
        group: int = 0,
        shard: int = 0,
        root: bytes = b"",
        depth: int = 0,
        prefix_only: bool = False,
        range_offset: int = 0,
        range_bytes: int = 0,
        timeout_ms: float = 1000,
    ) -> Results[GetResult]:
        """Loads values into the caller's memory: by keys, or by handle (pin_token, first).

        `pieces`: for each value where it goes; their sum must be its length. A PieceTable is the
        form without loops. Bytes of a target are meaningful only where the reason is OK.
        """
        if (keys is None) == (pin_token == 0):
            raise ValueError("either keys or pin_token is needed")
        table = pieces if isinstance(pieces, PieceTable) else PieceTable.of(pieces)
        key_table = KeyTable(keys) if keys is not None else None
        if key_table and key_table.count != table.values:
            raise ValueError(f"{key_table.count} keys but {table.values} targets")
        request = _abi.GetRequest(
            ns=_number(ns),
            keys=key_table.address if key_table else None,
            keys_count=table.values,
            pin_token=pin_token,
            first=first,
            group=group,
            shard=shard,
            depth=depth,
            prefix_only=prefix_only,
            root=_bytes(root),
            range_offset=range_offset,
            range_bytes=range_bytes,
            pieces=table.pieces_address,
            piece_counts=table.counts_address,
        )
        results = (_abi.GetResult * table.values)()
        error = _error_room()
        code = self._lib.kvgate_get(self._open_handle(), byref(request), timeout_ms, results, error)
        got = (
            GetResult(_reason(r.reason), _tier(r.tier), r.value_bytes, r.crc32c) for r in results
        )
        return Results(got, _code(code), _text(error))

    def get(
        self,
        ns: Namespace | int,
        keys: Sequence[bytes],
        value_bytes: int | Sequence[int],
        *,
        group: int = 0,
        shard: int = 0,
        root: bytes = b"",
        depth: int = 0,
        timeout_ms: float = 1000,
    ) -> Results[bytes | None]:
        """Values as bytes, None for a miss. For people: it copies; workers use get_into.

        A call that failed is all None; `code` and `error` of the answer say why.
        """
        sizes = [value_bytes] * len(keys) if isinstance(value_bytes, int) else list(value_bytes)
        if len(sizes) != len(keys):
            raise ValueError(f"{len(keys)} keys but {len(sizes)} sizes")
        buffers = [ctypes.create_string_buffer(size) for size in sizes]
        targets = [[(ctypes.addressof(b), len(b))] for b in buffers]
        results = self.get_into(
            ns,
            targets,
            keys=keys,
            group=group,
            shard=shard,
            root=root,
            depth=depth,
            timeout_ms=timeout_ms,
        )
        loaded = (
            b.raw if r.reason == Reason.OK else None for b, r in zip(buffers, results, strict=True)
        )
        return Results(loaded, results.code, results.error)

    def set(
        self,
        ns: Namespace | int,
        entries: Sequence[SetEntry],
        *,
        mode: int = SetMode.IF_ABSENT,
        parent: bytes = b"",
        root: bytes = b"",
        depth: int = 0,
        group: int = 0,
        shard: int = 0,
        durability: int = Durability.DEFAULT,
        hints: Hints = _NO_HINTS,
        ticket: int = 0,
        timeout_ms: float = 5000,
    ) -> Results[SetResult]:
        """Stores values in chain order. ALREADY_HELD is not a failure."""
        memory = ValueMemory()
        rows = (_abi.SetEntry * len(entries))()
        for row, entry in zip(rows, entries, strict=True):
            memory.add(entry.value)
            row.key = _bytes(entry.key)
            row.piece_count = memory.counts[-1]
            row.has_producer_crc = entry.producer_crc is not None
            row.producer_crc = entry.producer_crc or 0
            row.ttl_ms = entry.ttl_ms
        request = _abi.SetRequest(
            ns=_number(ns),
            entries=ctypes.addressof(rows),
            entries_count=len(entries),
            pieces=memory.address,
            mode=mode,
            depth=depth,
            group=group,
            shard=shard,
            durability=durability,
            parent=_bytes(parent),
            root=_bytes(root),
            ticket=ticket,
            prompt_tokens=hints.prompt_tokens,
            output_tokens=hints.output_tokens,
            turn=hints.turn,
            finished=hints.finished,
        )
        results = (_abi.SetResult * len(entries))()
        error = _error_room()
        code = self._lib.kvgate_set(self._open_handle(), byref(request), timeout_ms, results, error)
        stored = (SetResult(_reason(r.reason), Durability(r.durability)) for r in results)
        return Results(stored, _code(code), _text(error))

    def offer(
        self,
        ns: Namespace | int,
        keys: Sequence[bytes],
        value_bytes: Sequence[int],
        *,
        group: int = 0,
        shard: int = 0,
        root: bytes = b"",
        depth: int = 0,
        timeout_ms: float = 100,
    ) -> OfferResult:
        """Asks which keys the gateway wants, before payload is sent."""
        if len(keys) != len(value_bytes):
            raise ValueError(f"{len(keys)} keys but {len(value_bytes)} sizes")
        table = KeyTable(keys)
        sizes = (c_uint64 * len(keys))(*value_bytes)
        states = (ctypes.c_uint8 * len(keys))()
        ticket = c_uint64()
        error = _error_room()
        code = self._lib.kvgate_offer(
            *(self._open_handle(), _number(ns), table.address, sizes, table.count),
            *(group, shard, _bytes(root), depth, timeout_ms, states, byref(ticket), error),
        )
        text = _text(error)
        if code:
            nothing = (OfferState.UNSPECIFIED,) * len(keys)
            return OfferResult(_code(code), nothing, 0, text)
        return OfferResult(Code.OK, tuple(OfferState(s) for s in states), ticket.value, "")

    def delete(
        self,
        ns: Namespace | int,
        keys: Sequence[bytes],
        *,
        group: int | None = None,
        shard: int | None = None,
        durability: int = Durability.DEFAULT,
        timeout_ms: float = 1000,
    ) -> Results[bool]:
        """Which keys were there. Group or shard None: all of them.

        When `code` is not OK, nothing is known: all are False, and any may have been deleted.
        """
        table = KeyTable(keys)
        found = (ctypes.c_uint8 * len(keys))()
        error = _error_room()
        code = self._lib.kvgate_delete(
            *(self._open_handle(), _number(ns), table.address, table.count),
            *(-1 if group is None else group, -1 if shard is None else shard, durability),
            *(timeout_ms, found, error),
        )
        there = (False,) * len(keys) if code else (bool(f) for f in found)
        return Results(there, _code(code), _text(error))

    def touch(
        self,
        ns: Namespace | int,
        last_key: bytes,
        *,
        group: int = 0,
        hints: Hints = _NO_HINTS,
        timeout_ms: float = 100,
    ) -> Status:
        """Tells that a request finished; cheap, and a key that is not held is no failure."""
        error = _error_room()
        code = self._lib.kvgate_touch(
            *(self._open_handle(), _number(ns), _bytes(last_key), group),
            *(hints.prompt_tokens, hints.output_tokens, hints.turn, hints.finished),
            *(timeout_ms, error),
        )
        return _status(code, error)

    def pin(
        self, ns: Namespace | int, token: int, pin_ms: int, *, timeout_ms: float = 100
    ) -> Granted:
        """Renews a pin token; the milliseconds granted, 0 when it is stale or the call failed."""
        granted = ctypes.c_uint32()
        error = _error_room()
        code = self._lib.kvgate_pin(
            *(self._open_handle(), _number(ns), token & _U64, pin_ms, timeout_ms),
            *(byref(granted), error),
        )
        return Granted(0 if code else granted.value, _code(code), _text(error))

    def unpin(self, ns: Namespace | int, token: int, *, timeout_ms: float = 100) -> Status:
        error = _error_room()
        handle = self._open_handle()
        code = self._lib.kvgate_unpin(handle, _number(ns), token & _U64, timeout_ms, error)
        return _status(code, error)

    def ping(self, *, timeout_ms: float = 100) -> Status:
        error = _error_room()
        return _status(self._lib.kvgate_ping(self._open_handle(), timeout_ms, error), error)

    def staging_alloc(self, size: int) -> int:
        """Address of staging memory, 0 when none is left (drop and count: it never waits)."""
        return self._lib.kvgate_staging_alloc(self._open_handle(), size) or 0

    def staging_free(self, address: int) -> None:
        self._lib.kvgate_staging_free(self._open_handle(), address)

    def gather(self, target: int, pieces: PieceTable | Pieces) -> int:
        """Copies pieces one after the other to `target`; the CRC32C of what was written."""
        table = pieces if isinstance(pieces, PieceTable) else PieceTable.of([pieces])
        return int(self._lib.kvgate_gather(target, table.pieces_address, table.rows))

    def crc32c(self, pieces: PieceTable | Pieces) -> int:
        table = pieces if isinstance(pieces, PieceTable) else PieceTable.of([pieces])
        return int(self._lib.kvgate_crc32c(table.pieces_address, table.rows))

    def stats(self) -> Stats:
        raw = _abi.Stats()
        self._lib.kvgate_client_stats(self._open_handle(), byref(raw))
        misses = {reason: raw.misses_by_reason[reason] for reason in Reason}
        return Stats(
            calls=raw.calls,
            retries=raw.retries,
            reconnects=raw.reconnects,
            breaker_opens=raw.breaker_opens,
            loaded_blocks=raw.loaded_blocks,
            loaded_bytes=raw.loaded_bytes,
            stored_blocks=raw.stored_blocks,
            stored_bytes=raw.stored_bytes,
            verified_blocks=raw.verified_blocks,
            checksum_failures=raw.checksum_failures,
            revoked=raw.revoked,
            misses_by_reason={reason: count for reason, count in misses.items() if count},
            staging_in_use=raw.staging_in_use,
            transport=raw.transport.decode(),
            breaker_state=BreakerState(raw.breaker_state),
            breaker_reason=raw.breaker_reason.decode(),
        )


def _namespace(ns: int, raw: _abi.OpenResult) -> Namespace:
    return Namespace(
        ns=ns,
        available=True,
        code=Code.OK,
        error="",
        limits=Limits(*(getattr(raw, name) for name in Limits._fields)),
        features=frozenset(bit for bit in range(64) if raw.features >> bit & 1),
        root_group_keys=tuple(raw.root_group_keys[: raw.groups]),
        identity_digest=bytes(raw.identity_digest),
        incarnation=raw.incarnation,
        default_durability=Durability(raw.default_durability),
        disk_mode=raw.disk_mode.decode(errors="replace"),
        server_version=raw.server_version.decode(errors="replace"),
    )


def _lookup_result(
    raw: _abi.LookupResult, held: ctypes.Array[_abi.GroupHeld], bitmaps: dict[int, bytes]
) -> LookupResult:
    groups = tuple(
        GroupHeld(
            *(h.group, h.first, h.held, h.memory_keys, h.disk_keys, h.value_bytes),
            bitmaps.get(i, b""),
        )
        for i, h in enumerate(held[: raw.groups])
    )
    first = groups[0] if groups else GroupHeld(0, 0, 0, 0, 0, 0)
    return LookupResult(
        code=Code.OK,
        held=first.held,
        memory_keys=first.memory_keys,
        disk_keys=first.disk_keys,
        value_bytes=first.value_bytes,
        boundary_tokens=raw.boundary_tokens,
        pin_token=raw.pin_token,
        pin_ms=raw.pin_ms,
        predicted_load_ms=raw.predicted_load_ms,
        advice=Advice(raw.advice) if raw.advice <= Advice.RECOMPUTE else Advice.UNKNOWN,
        groups=groups,
        bitmap=next(iter(bitmaps.values()), b""),
    )
