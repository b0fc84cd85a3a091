"""The command ``esim-exporter``, which is ``python -m exporter`` as well."""

from __future__ import annotations

import sys

from exporter.fleet import process_memory
from exporter.storage.shutdown import INTERRUPTED


def main() -> int:
    """Run the command and return its exit status."""
    try:
        with process_memory.collector_paused():  # of modules nothing ever goes
            from exporter.cli import main as command  # noqa: PLC0415  # for the line above

        return command()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
