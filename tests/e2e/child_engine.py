# SPDX-License-Identifier: Apache-2.0
"""An engine in processes of its own: python child_engine.py MODEL LOCAL_SOCKET TOKEN_IDS_JSON

Generates once and prints a line RESULT {json}: the tokens, the prompt tokens that were claimed from
the gateway as vLLM counts them, and the connector's own counters on vLLM's Prometheus page.
"""

from __future__ import annotations

import json
import sys

from engine import Engine, transfer_config


def main() -> None:
    model, socket, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    engine = Engine(model, transfer_config({"local_socket": socket}))
    tokens = engine.one(ids)
    hits, counters = 0, {}
    for metric in engine.llm.get_metrics():
        if metric.name == "vllm:external_prefix_cache_hits":
            hits = metric.value
        elif metric.name == "vllm:kvgate_connector":
            counters[metric.labels["what"]] = metric.value
    engine.llm.llm_engine.engine_core.shutdown()
    result = {"tokens": tokens, "external_hits": hits, "counters": counters}
    print("RESULT", json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
