"""The subcommand ``esim-exporter simulate``."""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exporter.errors import ExitStatus
from exporter.settings.field_types import parse_duration
from exporter.settings.sources import SECRET_VARIABLE, secrets_in_file, secrets_in_variable
from exporter.settings.vendor_settings import secret_variable
from exporter.simulate.fleet import Phase
from exporter.simulate.sender import DEFAULT_URL, Credential, Sender, SenderOptions
from exporter.vendors.registry import FIRST, SIMULATED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.simulate.progress import SenderSummary
    from exporter.vendors.vendor import Vendor

_ALL: Final = "all"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the subcommand's options."""
    made = argparse.ArgumentParser(
        "esim-exporter simulate",
        description="Send the events of a synthetic fleet, as the vendors would.",
    )
    add = made.add_argument
    add(
        "--vendor",
        action="append",
        choices=[*(each.name for each in SIMULATED), _ALL],
        help=f"vendor to play; may be given several times (default: {FIRST.name})",
    )
    add(
        "--url",
        default=DEFAULT_URL,
        help="URL of the exporter, to which the paths of the webhooks are added; with one vendor "
        "also the URL of its webhook, without a token (default: %(default)s)",
    )
    _add_secrets(made)
    add(
        "--esims",
        type=_count,
        default=100,
        help="size of the fleet, which several vendors share (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="the same seed gives the same events (default: %(default)s)",
    )
    add(
        "--phase",
        type=Phase,
        choices=list(Phase),
        default=Phase.SPREAD,
        help="spread the four-hourly usage events over time, or send them in one burst "
        "(default: %(default)s)",
    )
    add(
        "--connections",
        type=_count,
        default=4,
        help="number of connections to the webhook (default: %(default)s)",
    )
    _add_times(made)
    return made


def _add_secrets(made: argparse.ArgumentParser) -> None:
    """Add the options that say with which secrets to prove who sends."""
    made.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="file whose first line is the secret, or the token, of the vendor that is played",
    )
    for vendor in SIMULATED:
        made.add_argument(
            f"--{vendor.name}.secret-file",
            dest=vendor.name,
            type=Path,
            metavar="FILE",
            help=f"the same for {vendor.title} (default: ${' or $'.join(_variables(vendor))})",
        )


def _add_times(made: argparse.ArgumentParser) -> None:
    """Add the options that say when events are sent."""
    add = made.add_argument
    add(
        "--speed",
        type=_positive,
        help="simulated seconds per second until the simulated clock reaches the present "
        "(default: 1; with --rate, as many as the rate allows)",
    )
    add("--rate", type=_positive, help="send at most this many events per second")
    add(
        "--start",
        type=parse_duration,
        default="1d",
        metavar="DURATION",
        help="start the simulated clock this long ago (default: %(default)s)",
    )
    add(
        "--faster",
        type=_positive,
        default=1,
        metavar="N",
        help="let N seconds of the fleet's life pass in one second of the simulated clock; the "
        "times in the events change accordingly (default: %(default)s)",
    )
    add(
        "--duration",
        type=parse_duration,
        metavar="DURATION",
        help="stop after this long (default: never)",
    )


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the simulation until ``--duration`` is over, SIGINT or SIGTERM; return the exit code.

    2 if a secret or the URL cannot be used. 1 if a good event was refused, a bad event was
    accepted, or no event got a final answer. Else 0.
    """
    args = vars(parser().parse_args(argv))
    try:
        credentials = _credentials(args, environ)
        # Every other flag has the name of a field of the options.
        summary = asyncio.run(_run(SenderOptions(credentials=credentials, **args)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"esim-exporter simulate: {error}\n")
        return ExitStatus.UNUSABLE
    sys.stderr.write(f"{summary}\n")
    return 1 if summary.refused or summary.accepted or not summary.sent else 0


async def _run(options: SenderOptions) -> SenderSummary:
    task = asyncio.ensure_future(Sender(options).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _credentials(args: dict[str, Any], environ: Mapping[str, str]) -> tuple[Credential, ...]:
    """Take the flags about vendors and secrets out of ``args``; return a secret for each vendor.

    Raises ``OSError`` if a file cannot be read, and ``ValueError`` if there is no secret.
    """
    chosen = args.pop("vendor") or [FIRST.name]
    vendors = [each for each in SIMULATED if each.name in chosen or _ALL in chosen]
    files = {each.name: args.pop(each.name) for each in SIMULATED}
    if only := args.pop("secret_file"):
        if len(vendors) > 1:
            raise ValueError(
                "--secret-file holds the secret of one vendor; for several, give each its own: "
                + ", ".join(f"--{vendor.name}.secret-file" for vendor in vendors)
            )
        files[vendors[0].name] = only
    return tuple(Credential(each, _secret(each, files[each.name], environ)) for each in vendors)


def _secret(vendor: Vendor, path: Path | None, environ: Mapping[str, str]) -> bytes:
    """Return the first secret, read by the same rules as ``serve`` reads its secrets."""
    if path is not None:
        source = str(path)
        try:
            secrets = secrets_in_file(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    else:
        variables = _variables(vendor)
        secrets = secrets_in_variable("\n".join(environ.get(name, "") for name in variables))
        source = " or ".join(f"${name}" for name in variables)
    if not secrets:
        raise ValueError(f"no webhook secret in {source}; see --{vendor.name}.secret-file")
    return secrets[0]


def _variables(vendor: Vendor) -> list[str]:
    """Return the environment variables that may hold a vendor's secret."""
    older = [SECRET_VARIABLE] if vendor is FIRST else []
    return [*older, secret_variable(vendor)]


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not (0 < number < math.inf):
        raise argparse.ArgumentTypeError(f"must be a number above 0: {text}")
    return number
