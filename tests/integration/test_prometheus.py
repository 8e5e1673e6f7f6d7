# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus scrapes a daemon and answers what operators ask."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import client_world
import harness
import pytest

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: kvgate
    static_configs: [{{targets: ["{target}"]}}]
"""
HIT_RATIO = """
sum(rate(kvgate_hits_total[5s]))
  / (sum(rate(kvgate_hits_total[5s])) + sum(rate(kvgate_misses_total[5s])))
"""
TOKENS_RATE = "rate(kvgate_tokens_saved_total[5s])"
P99 = "histogram_quantile(0.99, sum by (le) (rate(kvgate_request_seconds_bucket[5s])))"


class Prometheus:
    def __init__(self, folder, target):
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(target=target))
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=log,
                stderr=log,
            )
        client_world.eventually(lambda: self._port() is not None)

    def _port(self):
        """Of its listening socket: it was told to take a free one."""
        shown = subprocess.run(
            ["ss", "-Hltnp"], capture_output=True, text=True, timeout=harness.HANG_S, check=True
        ).stdout
        for line in shown.splitlines():
            if f"pid={self._process.pid}," in line:
                return int(line.split()[3].rsplit(":", 1)[1])
        assert self._process.poll() is None, self.log.read_text()
        return None

    def ask(self, query):
        """The first sample's value, or None while there is none."""
        words = urllib.parse.urlencode({"query": query})
        url = f"http://127.0.0.1:{self._port()}/api/v1/query?{words}"
        try:
            with urllib.request.urlopen(url, timeout=harness.HANG_S) as answer:
                result = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code != 503:  # still starting
                raise
            return None
        return float(result[0]["value"][1]) if result else None

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=harness.HANG_S)


@pytest.fixture
def prometheus(daemon, tmp_path):
    one = Prometheus(tmp_path, daemon.ready["metrics"])
    yield one
    one.stop()


def test_a_real_prometheus_answers_three_questions(prometheus, daemon, client):
    client.set({b"hit": b"x"})

    def answers():
        # One hit and one miss: the ratio is exact whatever the time between scrapes.
        client.get([b"hit", b"miss"])
        values = [prometheus.ask(query) for query in (HIT_RATIO, TOKENS_RATE, P99)]
        return values if all(value is not None and value > 0 for value in values) else None

    found = []
    client_world.eventually(lambda: found.append(answers()) or found[-1] is not None)
    ratio, tokens, p99 = found[-1]
    assert 0 < ratio < 1
    assert tokens > 0
    assert 0 < p99 < harness.HANG_S
