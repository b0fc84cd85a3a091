"""The subcommand ``esim-exporter mixin``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from errno import EISDIR
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter.errors import ExitStatus, SettingsError
from exporter.mixin.dashboards.dashboards import dashboards
from exporter.mixin.documents import documents
from exporter.mixin.values import MixinValues
from exporter.mixin.values_file import commented_defaults, read_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PROG: Final = "esim-exporter mixin"

_DESCRIPTION: Final = """\
Write rules for Prometheus, also as a PrometheusRule, the configuration of Alertmanager, and
dashboards for Grafana. The command creates DIR if it does not exist, and overwrites the files that
an earlier run wrote there. If a value cannot be used, it writes nothing."""


def files(values: MixinValues) -> dict[str, str]:
    """Return the text of every file by its path below the folder of the output."""
    boards = {f"dashboards/{name}": text for name, text in dashboards(values).items()}
    return documents(values) | boards


def main(argv: Sequence[str]) -> int:
    """Write the files; return 0, 1 if writing failed, 2 if arguments or values are unusable."""
    parser = argparse.ArgumentParser(
        _PROG, description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--values",
        metavar="FILE",
        help="YAML file of values that differ from the defaults; - prints all defaults with "
        "comments, and writes nothing",
    )
    args = parser.parse_args(argv)
    if args.values == "-":
        if args.output:
            parser.error("--values=- prints to standard output, so leave out --output")
        sys.stdout.write(commented_defaults())
        return ExitStatus.DONE
    if not args.output:
        parser.error("give --output=DIR, or --values=- to see the values")
    try:
        values = read_values(Path(args.values)) if args.values else MixinValues()
        texts = files(values)
        paths = {args.output / name: text for name, text in texts.items()}
        _write(paths)
        sys.stdout.write("".join(f"{path}\n" for path in paths))
        sys.stderr.write("".join(f"{_PROG}: {line}\n" for line in _unset_receivers(values)))
    except SettingsError as error:
        sys.stderr.write("".join(f"{_PROG}: {line}\n" for line in str(error).splitlines()))
        return error.exit_status
    except OSError as error:
        name = error.filename2 or error.filename or "standard output"
        sys.stderr.write(f"{_PROG}: {name}: {error.strerror}\n")
        return ExitStatus.FAILED
    return ExitStatus.DONE


def _unset_receivers(values: MixinValues) -> Iterator[str]:
    """Yield a line for each receiver that has no value of its own, so that nobody is told."""
    for name, default in MixinValues().receivers:
        if getattr(values.receivers, name) == default:
            yield f"receivers.{name} is not set: its notifications go to {default.webhook.url}"


def _write(texts: Mapping[Path, str]) -> None:
    """Write files beside their names, and rename them once all are written. Raises ``OSError``.

    So a full disk leaves the files of an earlier run as they were, and no program reads a part.
    """
    with ExitStack() as temporary:
        written = []
        for path, text in texts.items():
            if path.is_dir():
                raise IsADirectoryError(EISDIR, "is a folder", str(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = temporary.enter_context(
                tempfile.TemporaryDirectory(dir=path.parent, prefix=".esim-exporter-mixin-")
            )
            new = Path(folder) / path.name
            new.write_text(text, encoding="utf-8")
            written.append((new, path))
        for new, path in written:
            new.replace(path)
