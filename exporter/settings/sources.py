"""Readers of the command line, the environment and the YAML file.

Each reader returns values as texts, with the flag, variable or key that gave them, and one line
for each problem. pydantic-settings cannot be used: its flags would offer the secret on the command
line, and its environment reader takes the ``_`` in ``LISTEN_ADDRESS`` for nesting and overlooks
misspelt names.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from exporter.errors import SettingsError
from exporter.settings import ENVIRONMENT_PREFIX
from exporter.settings.options import Option

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

SECRET_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}WEBHOOK_SECRET"


def refuse_utf16(content: bytes) -> None:
    """Raise ``ValueError`` if the content of a file is text in UTF-16, as some editors write it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in content:
        raise ValueError("is text in UTF-16: write it in UTF-8")


def secrets_in_file(content: bytes) -> tuple[bytes, ...]:
    """Return the secrets that a file holds. Blank lines and lines that start with # are ignored.

    Raises ``ValueError`` for a file that is not text, such as one in UTF-16.
    """
    refuse_utf16(content)
    if b"\0" in content:
        raise ValueError("holds a zero byte: write it as text in UTF-8")
    lines = map(bytes.strip, content.removeprefix(codecs.BOM_UTF8).splitlines())
    return tuple(line for line in lines if line and not line.startswith(b"#"))


def secrets_in_variable(value: str) -> tuple[bytes, ...]:
    """Return the secrets that an environment variable holds, in the encoding of the environment."""
    lines = map(str.strip, value.splitlines())
    return tuple(os.fsencode(line) for line in lines if line)


_FROM_KUBERNETES = re.compile(
    ENVIRONMENT_PREFIX + r"(?:\w+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)
"""Variables that Kubernetes sets in every pod when a Service is named ``esim-exporter...``."""


@dataclass(frozen=True, slots=True)
class Given:
    """The value of an option as it was given, and the flag, variable or key that gave it."""

    value: str | list[str]
    where: str


Values = dict[Option, Given]


def read_flags(
    options: Iterable[Option], argv: Sequence[str], *, help_text: str, version: str
) -> tuple[Values, list[str]]:
    """Read the command line. ``--help`` and ``--version`` print their text and exit with 0."""
    offered = {option.flag: option for option in options if option.as_flag}
    withheld = {option.flag: option for option in options if not option.as_flag}
    parser = _Parser(help_text, version)
    for flag, option in offered.items():
        if option.switch:
            negated = f"--no-{option.key}"
            parser.add_argument(flag, dest=flag, action="store_const", const="true")
            parser.add_argument(negated, dest=flag, action="store_const", const="false")
        else:
            parser.add_argument(flag, dest=flag)
    try:
        namespace, rest = parser.parse_known_args(argv)
    except SettingsError as error:
        return {}, [str(error)]
    given = vars(namespace).items()
    values = {offered[flag]: Given(value.strip(), flag) for flag, value in given}
    return values, _not_understood(rest, offered, withheld)


def read_environment(
    options: Iterable[Option], environ: Mapping[str, str]
) -> tuple[Values, list[str]]:
    """Read the variables of ``options``. A blank variable counts as not set.

    Blanks and line ends around a value are removed. A file that is made for a variable often ends
    with a line end.
    """
    known = {option.variable: option for option in options}
    values: Values = {}
    problems: list[str] = []
    for name, value in environ.items():
        if name in known:
            if value := value.strip():  # only the stripped value counts
                values[known[name]] = Given(value, name)
        elif name.startswith(ENVIRONMENT_PREFIX) and not _FROM_KUBERNETES.fullmatch(name):
            problems.append(f"{name}: no such environment variable{hint(name, known)}")
    return values, sorted(problems)


def read_file(options: Iterable[Option], path: Path) -> tuple[Values, list[str]]:
    """Read a YAML file of groups and keys. ``null`` counts as not set.

    Every value is taken as the text that the file holds: YAML would read ``1:30`` as 90. Raises
    ``SettingsError`` if the file cannot be read or holds anything but groups and keys.
    """
    # Imports PyYAML, which most starts do not need.
    from exporter.settings.yaml_file import read_document  # noqa: PLC0415

    known = {option.key: option for option in options}
    values: Values = {}
    problems: list[str] = []
    for key, value in _flattened(read_document(path), path, known).items():
        where = f"{path}: {key}"
        option = known.get(key)
        if option is None:
            problems.append(f"{where}: no such key{hint(key, known)}")
        elif not option.in_file:
            problems.append(f"{where}: cannot be set in a file, use {_flag_or_variable(option)}")
        elif isinstance(value, str):
            values[option] = Given(value.strip(), where)
        elif option.many and isinstance(value, list):
            values[option] = Given(value, where)
        elif value is not None:
            problems.append(f"{where}: must be a single value")
    return values, problems


class _Parser(argparse.ArgumentParser):
    """Raises errors instead of printing them and exiting, and shows our own help page."""

    def __init__(self, page: str, version: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
        self._page = page
        self.add_argument("-h", "--help", action="help")
        self.add_argument("--version", action="version", version=version)

    def format_help(self) -> str:
        return self._page

    def error(self, message: str) -> NoReturn:
        flag, value_given, _ = message.removeprefix("argument ").partition(": ignored explicit")
        raise SettingsError(f"{flag}: takes no value" if value_given else flag)


def _not_understood(
    rest: Sequence[str], offered: Mapping[str, Option], withheld: Mapping[str, Option]
) -> list[str]:
    """Describe arguments that are not understood, without their values: these may be secrets."""
    flags = [argument.partition("=")[0] for argument in rest if argument.startswith("-")]
    if not flags:
        return [f"unexpected argument: {argument!r}" for argument in rest]
    return [
        f"{flag}: must not be a flag, use {_flag_or_variable(withheld[flag])}"
        if flag in withheld
        else f"{flag}: no such flag{hint(flag, offered)}"
        for flag in flags
    ]


def _flag_or_variable(option: Option) -> str:
    """Return the flag of an option, or its variable if it has no flag."""
    return option.flag if option.as_flag else option.variable


def hint(name: str, known: Collection[str]) -> str:
    """Return ", did you mean ...?" for a name that is close to a known one, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f", did you mean {close[0]}?" if close else ""


def _flattened(document: object, path: Path, known: Collection[str]) -> dict[str, object]:
    """Return values under ``group.key``. A key with a dot of its own may be nested once more.

    Raises ``SettingsError`` if a key is given twice.
    """
    values: dict[str, object] = {}
    for group, members in _mapping(document, str(path)).items():
        if group in known and not isinstance(members, dict):
            values[group] = members
            continue
        for name, value in _mapping(members, f"{path}: {group}").items():
            key = f"{group}.{name}"
            found = {key: value}
            if isinstance(value, dict) and value and key not in known:
                found = {f"{key}.{rest}": member for rest, member in value.items()}
            if twice := values.keys() & found.keys():
                raise SettingsError(f"{path}: {min(twice)} is given twice")
            values |= found
    return values


def _mapping(value: object, where: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: must be a mapping")
    return {str(key): member for key, member in value.items()}
