# SPDX-License-Identifier: Apache-2.0
"""kvgate: KV blocks of LLM inference kept by the gateway of this node.

    client = kvgate.Client(local_socket="/run/kvgate/local.sock")
    ns = client.open(kvgate.Identity(...))
    held = client.lookup(ns, keys)

A gateway that is absent, hung or restarted makes misses with a reason, never an exception.
"""

from kvgate._abi import LibraryError
from kvgate.client import Client
from kvgate.identity import GroupKind, Identity, KvGroup
from kvgate.pieces import PieceTable
from kvgate.types import (
    Advice,
    BreakerState,
    Code,
    Durability,
    Feature,
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

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "BreakerState",
    "Client",
    "Code",
    "Durability",
    "Feature",
    "GetResult",
    "Granted",
    "GroupHeld",
    "GroupKind",
    "GroupQuery",
    "Hints",
    "Identity",
    "KvGroup",
    "LibraryError",
    "Limits",
    "LookupResult",
    "Match",
    "Namespace",
    "OfferResult",
    "OfferState",
    "PieceTable",
    "Reason",
    "Results",
    "SetEntry",
    "SetMode",
    "SetResult",
    "Stats",
    "Status",
    "Tier",
]
