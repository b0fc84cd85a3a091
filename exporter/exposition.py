"""The exposition: text made when something changes, joined when somebody asks.

Of each block of records and each family one *piece* is kept: its lines as raw deflate
data (RFC 1951) that ends in a full flush, so that it stands alone and ends on a byte, with
the length and the CRC-32 of the text. Nothing else of the text is kept. A gzip scrape
puts the pieces behind one another into a single gzip member (RFC 1952: several members
would be allowed, but some clients stop after the first); an identity scrape inflates them
as it goes.

Formats: Prometheus text 0.0.4 and OpenMetrics 1.0. They differ in the metadata lines only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from isal import isal_zlib

from exporter.families import PACKAGE_FAMILIES, VENDOR_FAMILIES, Identity, VendorView, esim_families
from exporter.packed import unpacked
from exporter.records import Balance, PartnerNotice
from exporter.rendering import metadata, render_esims, render_packages, render_vendors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from exporter.blocks import Block, Blocks
    from exporter.families import Family
    from exporter.fleet import Fleet

K = TypeVar("K")
R = TypeVar("R")

CHUNK = 128 * 1024
"""Bytes to send at a time; through the server, smaller chunks are several times slower."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"
"""An empty deflate block that says it is the last."""


class Group(StrEnum):
    """What a scrape may choose from with ``collect[]`` and ``exclude[]``."""

    ESIMS = "esims"
    FLEET = "fleet"
    EXPORTER = "exporter"


class Format(StrEnum):
    """Exposition formats by content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Piece(NamedTuple):
    """Some lines of text, deflated."""

    deflated: bytes
    size: int
    """Bytes of the text."""
    crc: int


_NOTHING = Piece(b"", 0, 0)


class Deflater:
    """Makes pieces; one compressor serves for all, since a full flush forgets what was before."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(1, wbits=-15)

    def piece(self, text: str) -> Piece:
        """Return the piece of a text."""
        if not text:
            return _NOTHING
        data = text.encode()
        deflated = self._compressor.compress(data)
        deflated += self._compressor.flush(isal_zlib.Z_FULL_FLUSH)
        return Piece(deflated, len(data), isal_zlib.crc32(data))


class Sheet(Generic[K, R]):
    """The pieces of some families over blocks of records: a column a family, a row a block."""

    def __init__(
        self,
        blocks: Blocks[K, R],
        families: tuple[Family, ...],
        render: Callable[[Block[K, R], tuple[Family, ...]], list[str]],
        deflater: Deflater,
    ) -> None:
        self.families = families
        self._blocks = blocks
        self._render = render
        self._deflater = deflater

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return len(self._blocks.dirty)

    def refresh(self) -> Iterator[None]:
        """Render what has changed until now, pausing after each block."""
        for block in list(self._blocks.dirty):
            if block in self._blocks.dirty:
                self._refresh(block)
                yield

    def capture(self) -> list[tuple[Piece, ...]]:
        """Return the pieces of all blocks as they are at this moment."""
        for block in self._blocks.blocks:
            if block.rendered is None:  # split or merged since the refresh
                self._refresh(block)
        return [block.rendered for block in self._blocks.blocks if block.rendered]

    def _refresh(self, block: Block[K, R]) -> None:
        self._blocks.dirty.pop(block, None)
        texts = self._render(block, self.families)
        block.rendered = tuple([self._deflater.piece(text) for text in texts])


class Scrape:
    """One exposition, captured; what happens to the fleet meanwhile does not change it."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces

    @classmethod
    def of_text(cls, text: str, format_: Format) -> Scrape:
        """Return an exposition of the exporter's own text alone."""
        return cls(closing(text, format_, Deflater()))

    @property
    def size(self) -> int:
        """Return the bytes of the text."""
        return sum(piece.size for piece in self._pieces)

    @property
    def gzip_size(self) -> int:
        """Return the bytes of the gzip member."""
        framing = len(_GZIP_HEADER) + len(_LAST_BLOCK) + 8
        return framing + sum(len(piece.deflated) for piece in self._pieces)

    def identity(self) -> Iterator[bytes]:
        """Yield the text in chunks."""
        inflater = isal_zlib.decompressobj(-15)
        return _chunks(inflater.decompress(piece.deflated) for piece in self._pieces)

    def gzip(self) -> Iterator[bytes]:
        """Yield one gzip member in chunks."""
        return _chunks(self._member())

    def _member(self) -> Iterator[bytes]:
        yield _GZIP_HEADER
        crc = size = 0
        for piece in self._pieces:
            yield piece.deflated
            crc = isal_zlib.crc32_combine(crc, piece.crc, piece.size)
            size += piece.size
        yield _LAST_BLOCK
        yield crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


class Exposition:
    """The text of a fleet, kept up to date by :meth:`refresh`."""

    def __init__(self, fleet: Fleet, identity: Identity, stale_after: float) -> None:
        self._fleet = fleet
        self._deflater = Deflater()
        self.stale_after = stale_after
        """Seconds after which an ACTIVATED eSIM counts as stale."""
        families = esim_families(identity)
        self._esims = Sheet(
            fleet.esims.blocks,
            families,
            lambda block, families: render_esims(unpacked(block), families),
            self._deflater,
        )
        self._packages = Sheet(
            fleet.totals.packages,
            PACKAGE_FAMILIES,
            lambda block, families: render_packages(block.records, families),
            self._deflater,
        )
        self._metadata: dict[tuple[str, Format], Piece] = {}

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return self._esims.pending + self._packages.pending

    def refresh(self, groups: Collection[Group] = frozenset(Group)) -> Iterator[None]:
        """Render what has changed until now in these groups, pausing after each block."""
        if Group.ESIMS in groups:
            yield from self._esims.refresh()
        if Group.FLEET in groups:
            yield from self._packages.refresh()

    def scrape(
        self, groups: Collection[Group], format_: Format, now: float, exporter: str = ""
    ) -> Scrape:
        """Capture these groups at ``now`` (unix seconds).

        ``exporter`` is the text of the group of that name in the same format.
        """
        columns: list[tuple[Family, Iterable[Piece]]] = []
        if Group.ESIMS in groups:
            columns += _columns(self._esims)
        pieces = self._join(columns, format_)
        if Group.FLEET in groups:
            fleet = [*_columns(self._packages), *self._vendor_columns(now)]
            pieces += self._join(sorted(fleet, key=lambda column: column[0].name), format_)
        pieces += closing(exporter if Group.EXPORTER in groups else "", format_, self._deflater)
        return Scrape(pieces)

    def _vendor_columns(self, now: float) -> Iterator[tuple[Family, Iterable[Piece]]]:
        texts = render_vendors(vendor_views(self._fleet, now, self.stale_after), VENDOR_FAMILIES)
        for family, text in zip(VENDOR_FAMILIES, texts, strict=True):
            yield family, (self._deflater.piece(text),)

    def _join(
        self, columns: Iterable[tuple[Family, Iterable[Piece]]], format_: Format
    ) -> list[Piece]:
        pieces: list[Piece] = []
        for family, column in columns:
            pieces.append(self._header(family, format_))
            pieces.extend(column)
        return pieces

    def _header(self, family: Family, format_: Format) -> Piece:
        key = (family.name, format_)
        if key not in self._metadata:
            text = metadata(family, openmetrics=format_ is Format.OPENMETRICS)
            self._metadata[key] = self._deflater.piece(text)
        return self._metadata[key]


def closing(exporter: str, format_: Format, deflater: Deflater) -> list[Piece]:
    """Return what ends an exposition: the exporter's own text and, in OpenMetrics, the EOF."""
    return [deflater.piece(exporter + ("# EOF\n" if format_ is Format.OPENMETRICS else ""))]


def vendor_views(fleet: Fleet, now: float, stale_after: float) -> list[tuple[str, VendorView]]:
    """Return what the vendors' families are read from, sorted by vendor."""
    registers = fleet.registers.values()
    balances = sorted((r for r in registers if isinstance(r, Balance)), key=lambda b: b.key)
    notices = sorted((r for r in registers if isinstance(r, PartnerNotice)), key=lambda n: n.key)
    locations = sorted(fleet.totals.locations.items())
    return [
        (
            vendor,
            VendorView(
                totals=totals,
                locations=tuple((place, n) for (v, place), n in locations if v == vendor),
                balances=tuple(b for b in balances if b.vendor == vendor),
                notices=tuple(n for n in notices if n.vendor == vendor),
                stale=totals.stale(now, stale_after),
            ),
        )
        for vendor, totals in sorted(fleet.totals.vendors.items())
    ]


def _columns(sheet: Sheet[K, R]) -> list[tuple[Family, Iterable[Piece]]]:
    rows = sheet.capture()
    return [(family, [row[at] for row in rows]) for at, family in enumerate(sheet.families)]


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
