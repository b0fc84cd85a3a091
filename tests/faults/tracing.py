"""What a process does to its files and says to its clients, as strace saw it.

The same command makes system calls fail: see :func:`traced`.
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
    """A system call that ended, on a file or on the connection from a port."""

    name: str
    path: str
    """Empty for a connection; of a file that is renamed, the new one."""
    port: int
    """0 for a file."""
    data: bytes
    number: int
    """The last number of its arguments, if any: an offset, a size, or where a seek came out."""
    failed: bool
    creates: bool = False


_LONGEST = str(1 << 21)
"""Bytes of a call that are noted: above what the storage writes at once."""


def traced(record: Path, *faults: str) -> list[str]:
    """Return what to put in front of a command to record its calls, with faults injected.

    Signals reach the program itself and not strace.
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
    """Return the environment for a server that is traced."""
    found = programs.environment(programs.require("strace"))
    libraries = {k: v for k, v in found.items() if k == "LD_LIBRARY_PATH"}
    # What measures coverage has a database of its own, which the faults would hit as well.
    return {**SIGNED, **libraries, "COVERAGE_PROCESS_CONFIG": ""}


def calls(record: Path) -> Iterator[Call]:
    """Yield the calls in the order in which they ended."""
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
    """Wait until strace has written all it saw of a process that is gone."""
    until(lambda: not _held(record))


def _held(record: Path) -> bool:
    """Tell whether a process still has the record open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # gone meanwhile
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
        data = data[: max(0, result)]  # not all of it may have been taken
    return Call(name, path, port, data, number, failed=result < 0, creates=creates)
