# SPDX-License-Identifier: Apache-2.0
"""Gateway: one role's connection: a kvgate.Client with the namespace of this engine opened on it.

Promises: no call raises because of the gateway; each returns by its time-out. The namespace number
is good while the gateway is away and after it restarts. Thread-safe as kvgate.Client is.
Errors: LibraryError and ValueError of a wrong installation or setting leave the constructor.
"""

from __future__ import annotations

import threading

from vllm.logger import init_logger

from kvgate import Client, Code, Identity, Namespace
from kvgate.vllm.settings import Settings

logger = init_logger("vllm.kvgate.gateway")


class Gateway:
    def __init__(self, settings: Settings, identity: Identity, role: str, staging: bool) -> None:
        self.client = Client(
            transport=settings.transport,
            local_socket=settings.local_socket,
            grpc_target=settings.grpc_target or None,
            client_name=f"vllm-{role}",
            staging_bytes=settings.staging_bytes if staging else 1 << 20,
            verify=settings.verify,
            library=settings.library or None,
            grpc_library=settings.grpc_library or None,
            token_file=settings.token_file,
        )
        self.identity = identity
        self.identity_digest = identity.digest()
        self._settings = settings
        self._lock = threading.Lock()
        self._token_refused = False
        self._namespace = self._open()  # guarded by _lock when it is replaced
        self._log_opened(role)

    @property
    def block_bytes(self) -> int:
        """Of one block's value: the pages of all its layers."""
        return sum(g.page_bytes * len(g.layer_names) for g in self.identity.groups)

    @property
    def ns(self) -> int:
        return self._namespace.ns

    def _open(self) -> Namespace:
        return self.client.open(
            self.identity, alias=self._settings.alias, timeout_ms=self._settings.open_timeout_ms
        )

    def root_group_keys(self) -> int:
        """Keys of a root group: the gateway's word once it was reached, else the same formula."""
        answered = self._namespace.root_group_keys
        return answered[0] if answered else max(1, 4096 // self.identity.groups[0].block_tokens)

    def refused(self) -> str:
        """Why the gateway will not serve this identity; empty while it does or is away."""
        namespace = self._namespace
        final = {Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED}
        # Anything else may pass: an outage ends, a token is put right.
        return f"{namespace.code.name}: {namespace.error}" if namespace.code in final else ""

    def learn_token(self, code: Code, error: str) -> None:
        """Says once that the gateway refuses the token, and once that it takes it again."""
        refused = code == Code.UNAUTHENTICATED
        if refused and not self._token_refused:
            logger.error(
                "kvgate: the gateway refuses this engine's token (%s); the engine computes "
                "everything until token_file (or KVGATE_TOKEN_FILE) has one that it takes: looked "
                "at each second, and asked again every 30 s [KVG215]",
                error,
            )
        elif code == Code.OK and self._token_refused:
            logger.info("kvgate: the gateway takes this engine's token")
        if refused or code == Code.OK:
            self._token_refused = refused

    def _log_opened(self, role: str) -> None:
        namespace = self._namespace
        if namespace.available:
            logger.info(
                "kvgate %s: gateway %s reached, identity %s, disk %s",
                role,
                namespace.server_version,
                self.identity_digest.hex()[:16],
                namespace.disk_mode or "none",
            )
        elif namespace.code == Code.UNAUTHENTICATED:
            self.learn_token(namespace.code, namespace.error)
        else:
            logger.warning(
                "kvgate %s: the gateway does not answer (%s: %s); the engine computes everything "
                "until it does [KVG611]",
                role,
                namespace.code.name,
                namespace.error,
            )

    def close(self) -> None:
        self.client.close()
