# SPDX-License-Identifier: Apache-2.0
"""The vLLM connector: kv_connector "KvgateConnector", kv_connector_module_path "kvgate.vllm"."""

from kvgate.vllm.connector import KvgateConnector

__all__ = ["KvgateConnector"]
