"""The fleet as prometheus-client gauges: the peer of S3 and S10.

``python -m benchmarks.gauges ESIMS STEP BASE`` fills a registry and prints how much memory that
took. Then it answers each line of its standard input with the seconds of ``generate_latest``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from benchmarks import payloads


def main() -> None:
    """Fill a registry, then measure once for each line of standard input."""
    esims, step, base = map(int, sys.argv[1:])
    before = _rss()
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for number in range(esims):
        for name, labels, value in payloads.series(number, step, base):
            if name not in gauges:
                gauges[name] = Gauge(name, name, list(labels), registry=registry)
            gauges[name].labels(*labels.values()).set(value)
    print(json.dumps({"filled": _rss() - before}), flush=True)  # noqa: T201  # the answer
    for _ in sys.stdin:
        started = time.perf_counter()
        size = len(generate_latest(registry))
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "size": size}), flush=True)  # noqa: T201  # the answer


def _rss() -> int:
    """Return the resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
