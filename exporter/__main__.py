"""The command ``esim-exporter``; ``python -m exporter`` is the same."""

from __future__ import annotations

import signal
import sys

from exporter.errors import ExitStatus
from exporter.fleet import process_memory


def main() -> int:
    """Run the command and return its exit status."""
    if sys.argv[1:2] == ["serve"]:
        # It would end the process. It waits instead, until a running exporter reloads on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # Modules are never freed, so a garbage collection during imports would find nothing.
        with process_memory.collector_paused():
            from exporter.cli import main as command  # noqa: PLC0415  # see the comment above

        return command()
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
