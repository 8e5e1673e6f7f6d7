# SPDX-License-Identifier: Apache-2.0
"""An engine in processes of its own: python child_engine.py MODEL LOCAL_SOCKET TOKEN_IDS_JSON

Generates once and prints a line RESULT {json}: tokens, and the tokens that were claimed from the
gateway as vLLM's own metrics count them.
"""

from __future__ import annotations

import json
import sys

from engine import Engine, transfer_config


def main() -> None:
    model, socket, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    engine = Engine(model, transfer_config({"local_socket": socket}))
    tokens = engine.one(ids)
    metrics = {m.name: getattr(m, "value", None) for m in engine.llm.get_metrics()}
    hits = metrics.get("vllm:external_prefix_cache_hits")
    engine.llm.llm_engine.engine_core.shutdown()
    print("RESULT", json.dumps({"tokens": tokens, "external_hits": hits}), flush=True)


if __name__ == "__main__":
    main()
