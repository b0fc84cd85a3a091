"""The system calls of a process on its files and connections, recorded with strace.

strace can make system calls fail, too.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import programs
from running import SIGNED, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = (
    "openat,unlink,unlinkat,rename,ftruncate,lseek,pwrite64,write,writev,sendmsg,sendto,"
    "fsync,fdatasync"
)

_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)", re.DOTALL)
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>", re.DOTALL)
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)", re.DOTALL)
_DESCRIPTOR = re.compile(r"(\d+)<(.*?)>(\(deleted\))?(?=[,) ]|$)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PATH = re.compile(r"(?:\\x[0-9a-f]{2})+")
_PEER = re.compile(r"TCP:\[.*->.*:(\d+)\]")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that returned, on a file or on a connection."""

    name: str
    path: str
    """Of the file; empty for a connection. For ``rename``, the new path."""
    port: int
    """The client's port of a connection; 0 for a file."""
    data: bytes
    number: int
    """The last number in its arguments: an offset or a size. For ``lseek``, its result."""
    failed: bool
    creates: bool = False


_LONGEST = str(1 << 21)
"""Bytes of a call that strace records: more than the storage ever writes at once."""


def traced(record: Path, *faults: str) -> list[str]:
    """Return the words in front of a command that record its calls and inject faults.

    Signals reach the program itself, not strace.
    """
    inject = [option for fault in faults for option in ("-e", f"inject={fault}")]
    strace = str(programs.require("strace"))
    options = [
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-yy",
        "-xx",
        "-s",
        _LONGEST,
        "-e",
        "signal=none",
    ]
    return [strace, *options, "-o", str(record), "-e", f"trace={CALLS}", *inject]


def environment() -> dict[str, str]:
    """Return the environment of a traced server."""
    found = programs.environment(programs.require("strace"))
    libraries = {k: v for k, v in found.items() if k == "LD_LIBRARY_PATH"}
    # Coverage has a SQLite database of its own. The faults would hit that one too.
    return {**SIGNED, **libraries, "COVERAGE_PROCESS_CONFIG": ""}


def calls(record: Path) -> Iterator[Call]:
    """Yield the calls in the order in which they returned."""
    begun: dict[tuple[str, str], str] = {}
    with record.open() as lines:
        for line in lines:
            if found := _BEGUN.match(line):
                begun[found[1], found[2]] = found[3]
            elif found := _RESUMED.match(line):
                arguments = begun.pop((found[1], found[2])) + found[3]
                yield _call(found[2], arguments, int(found[4]), found[5])
            elif found := _WHOLE.match(line):
                yield _call(found[2], found[3], int(found[4]), found[5])


def ended(record: Path) -> None:
    """Wait until strace has recorded everything about a process that has ended."""
    until(lambda: not _held(record))


def _held(record: Path) -> bool:
    """Return whether a process still has the record open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process has ended meanwhile
            if link.readlink() == record:
                return True
    return False


def _call(name: str, arguments: str, result: int, rest: str) -> Call:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    where = _DESCRIPTOR.search(f"{result}{rest}" if name == "openat" else arguments)
    path, port, data = "", 0, b"".join(texts)
    if name in {"unlink", "unlinkat", "rename"}:
        path, data = os.fsdecode(texts[-1]), b""
    elif where and (peer := _PEER.match(where[2])):
        port = int(peer[1])
    elif where and _PATH.fullmatch(where[2]):
        path = os.fsdecode(bytes.fromhex(where[2].replace("\\x", "")))
    numbers = re.findall(r"(?<=, )\d+", arguments)
    number = result if name == "lseek" else int(numbers[-1]) if numbers else 0
    creates = "O_CREAT" in arguments
    if name in {"pwrite64", "write"}:
        data = data[: max(0, result)]  # the call may have written less than it was given
    return Call(name, path, port, data, number, failed=result < 0, creates=creates)
