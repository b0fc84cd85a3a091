"""A model of a disk that loses power.

- Synced content survives. Content that was not synced survives in any combination, in pieces of
  512 bytes.
- A file's name survives once its folder was synced. Changes of names that were not synced survive
  in their order, as in journalling file systems: some first ones do, the later ones do not.
- Content that a failed sync should have written survives or not. A later sync does not change
  that: Linux takes the pages for clean.
- A write does not damage its neighbours in the same sector. SQLite calls this "powersafe
  overwrite", and disks with 4 KiB sectors promise it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tracing import Call

SECTOR = 512

_SYNCS = frozenset({"fsync", "fdatasync"})


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes

    def pieces(self) -> Iterator[_Write]:
        """Yield the part in each sector."""
        at = 0
        while at < len(self.data):
            size = SECTOR - (self.offset + at) % SECTOR
            yield _Write(self.offset + at, self.data[at : at + size])
            at += size

    def apply(self, content: bytearray) -> None:
        missing = self.offset + len(self.data) - len(content)
        content.extend(bytes(max(0, missing)))
        content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(frozen=True, slots=True)
class _Resize:
    size: int

    def pieces(self) -> Iterator[_Resize]:
        yield self

    def apply(self, content: bytearray) -> None:
        content.extend(bytes(max(0, self.size - len(content))))
        del content[self.size :]


@dataclass(slots=True, eq=False)
class _File:
    safe: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Resize] = field(default_factory=list)

    def survivor(self, chance: random.Random) -> bytes:
        """Return one content that a power cut may leave."""
        content = bytearray(self.safe)
        for change in _some(self.pending, chance):
            change.apply(content)
        return bytes(content)


class Disk:
    """The files of a folder: those from before, and the effect of each call since."""

    def __init__(self, folder: Path, before: Mapping[str, bytes], chance: random.Random) -> None:
        self._folder = str(folder)
        self._chance = chance
        self._names: dict[str, _File] = {}
        """The files as the process sees them."""
        self._safe_names: dict[str, _File] = {}
        self._renamed: list[tuple[str, _File | None]] = []
        """Changes of names that were not synced."""
        self._positions: dict[str, int] = {}
        for name, content in before.items():
            self._names[str(folder / name)] = _File(bytearray(content))
        self._keep_names()

    def take(self, call: Call) -> None:
        """Apply a call of the process. Calls on other files change nothing."""
        if call.path == self._folder and call.name in _SYNCS and not call.failed:
            self._keep_names()
        if not call.path.startswith(f"{self._folder}/"):
            return
        match call.name:
            case "openat" if call.creates and call.path not in self._names:
                self._name(call.path, _File())
            case "unlink" | "unlinkat" if not call.failed:
                self._name(call.path, None)
            case "lseek":
                self._positions[call.path] = call.number
            case _ if file := self._names.get(call.path):
                self._change(file, call)

    def after_power_loss(self, target: Path) -> None:
        """Write to the folder ``target`` one state that the power cut may leave."""
        names: dict[str, _File | None] = {**self._safe_names}
        names |= self._renamed[: self._chance.randint(0, len(self._renamed))]
        for path, file in names.items():
            if file is not None:
                name = path.removeprefix(f"{self._folder}/")
                (target / name).write_bytes(file.survivor(self._chance))

    def _name(self, path: str, file: _File | None) -> None:
        self._renamed.append((path, file))
        if file:
            self._names[path] = file
        else:
            self._names.pop(path, None)

    def _keep_names(self) -> None:
        self._safe_names = dict(self._names)
        self._renamed = []

    def _change(self, file: _File, call: Call) -> None:
        match call.name:
            case "pwrite64" if not call.failed:
                file.pending.append(_Write(call.number, call.data))
            case "write" if not call.failed:
                at = self._positions.get(call.path, 0)
                file.pending.append(_Write(at, call.data))
                self._positions[call.path] = at + len(call.data)
            case "ftruncate" if not call.failed:
                file.pending.append(_Resize(call.number))
            case _ if call.name in _SYNCS:
                written = _some(file.pending, self._chance) if call.failed else file.pending
                for change in written:
                    change.apply(file.safe)
                file.pending = []


def _some(pending: list[_Write | _Resize], chance: random.Random) -> Iterator[_Write | _Resize]:
    """Yield a random part of the changes: nothing, all, the first ones, some, or pieces of some."""
    likely = chance.random()
    match chance.randrange(5):
        case 0:
            return
        case 1:
            yield from pending
        case 2:
            yield from pending[: chance.randint(0, len(pending))]
        case 3:
            yield from (change for change in pending if chance.random() < likely)
        case _:
            for change in pending:
                yield from (piece for piece in change.pieces() if chance.random() < likely)
