"""``esim-exporter serve`` with altered parts, for which users have no option.

This is a program. Environment variables choose what is altered:

``ALTERED_LOG_LIMIT``: bytes of log above which it is written back;
``ALTERED_SYNCHRONOUS``: the pragma ``synchronous``, to show what a weaker value would lose;
``ALTERED_CLOCK``: a file with the seconds that the wall clock is ahead, read at each use.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from exporter import cli
from exporter.storage.sqlite import storage

COMMAND = (sys.executable, str(Path(__file__).resolve()), "serve")

LOG_LIMIT = "ALTERED_LOG_LIMIT"
SYNCHRONOUS = "ALTERED_SYNCHRONOUS"
CLOCK = "ALTERED_CLOCK"


def alter_log_limit(limit: int) -> None:
    module: Any = storage
    module.LOG_LIMIT = limit


def alter_synchronous(value: str) -> None:
    module: Any = storage
    connect = module.connect

    def connect_altered(path: Path) -> Any:
        opened = connect(path)
        opened.connection.execute(f"PRAGMA synchronous = {value}")
        return opened

    module.connect = connect_altered


def alter_clock(path: Path) -> None:
    def now() -> float:
        return time.time() + float(path.read_text())

    module: Any = cli  # the one place that asks for the time
    module.time = SimpleNamespace(time=now)


def main() -> int:
    if limit := os.environ.get(LOG_LIMIT):
        alter_log_limit(int(limit))
    if value := os.environ.get(SYNCHRONOUS):
        alter_synchronous(value)
    if path := os.environ.get(CLOCK):
        alter_clock(Path(path))
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
