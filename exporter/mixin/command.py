"""The subcommand ``esim-exporter mixin``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.errors import ExitStatus
from exporter.mixin.dashboards.dashboards import dashboards
from exporter.mixin.documents import documents
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Sequence


def files(values: MixinValues) -> dict[str, str]:
    """Return the text of every file by its path below the folder of the output."""
    boards = {f"dashboards/{name}": text for name, text in dashboards(values).items()}
    return documents(values) | boards


def main(argv: Sequence[str]) -> int:
    """Write the files; return the exit status."""
    parser = argparse.ArgumentParser(
        "esim-exporter mixin",
        description="Write rules, the configuration of Alertmanager, and dashboards.",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to"
    )
    args = parser.parse_args(argv)
    for name, text in files(MixinValues()).items():
        path = args.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return ExitStatus.DONE
