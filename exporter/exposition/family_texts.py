"""The texts of families over all blocks of records, kept up to date in small steps.

A change goes through two steps. First its block is rendered: only the lines that differ are
replaced, and only the families that have such lines are deflated again. Then the texts of its
part are joined, because joining the texts of all blocks would take as long as sending them. A
scrape shows what is joined.

All of it happens on the event loop. The background and a scrape may do it at the same time.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from exporter.exposition.deflated_text import DeflatedText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from exporter.exposition.deflated_text import Deflater
    from exporter.exposition.families import Family
    from exporter.fleet.blocks import Block, Blocks, Part

    Render = Callable[[Iterable[tuple[Any, Any]], tuple[Family, ...]], list[str]]
    """Returns the lines of each family for keys with their records."""

K = TypeVar("K")
R = TypeVar("R")

LITTLE = 24
"""Blocks and parts that a scrape renders and joins itself. This takes about 40 ms at most."""


class BlockTexts:
    """The texts of one block of records, one for each family.

    A large fleet has many blocks, so this keeps few objects: the garbage collector visits each
    of them, and everything else waits meanwhile.
    """

    __slots__ = ("_crcs", "_lengths", "_sizes", "_sources", "_starts")

    def __init__(self, texts: Sequence[DeflatedText]) -> None:
        self._lengths = array("I", [len(text.deflated) for text in texts])
        self._sizes = array("I", [text.size for text in texts])
        self._crcs = array("I", [text.crc for text in texts])
        self._starts = array("I", bytes(4 * len(texts)))
        self._sources = [text.deflated for text in texts]

    def text(self, family: int) -> DeflatedText:
        """Return the text of a family, given by its place among the families."""
        start = self._starts[family]
        view = memoryview(self._sources[family])[start : start + self._lengths[family]]
        return DeflatedText(view, self._sizes[family], self._crcs[family])

    def replace(self, family: int, text: DeflatedText) -> None:
        """Replace the text of a family."""
        self._lengths[family] = len(text.deflated)
        self._sizes[family], self._crcs[family] = text.size, text.crc
        self._sources[family], self._starts[family] = text.deflated, 0

    def move(self, family: int, source: bytes | memoryview, start: int) -> int:
        """Read a family's text from ``source``, beginning at ``start``; return its end.

        The byte string that held the text before can then be freed.
        """
        self._sources[family], self._starts[family] = source, start
        return start + self._lengths[family]

    def is_in(self, family: int, source: bytes | memoryview) -> bool:
        """Return whether a family's text is read from ``source``."""
        return self._sources[family] is source


class _PartTexts(NamedTuple):
    """The joined texts of a part."""

    blocks: tuple[Any, ...]
    families: tuple[DeflatedText, ...]
    """One text for each family."""


class FamilyTexts(Generic[K, R]):
    """The texts of some families over all blocks of records."""

    def __init__(
        self,
        blocks: Blocks[K, R],
        families: tuple[Family, ...],
        render: Render,
        deflater: Deflater,
        *,
        replaces_lines: bool = False,
    ) -> None:
        """``replaces_lines`` if the lines of a record depend on nothing but the record."""
        self.families = families
        self._blocks = blocks
        self._render = render
        self._deflater = deflater
        self._replaces_lines = replaces_lines
        self._noted = 0.0
        """The time of the last change that was noted."""
        for part in blocks.parts:
            part.rendered = None

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return len(self._blocks.dirty)

    @property
    def ready(self) -> bool:
        """Return whether everything was rendered once."""
        return all(part.rendered is not None for part in self._blocks.parts)

    @property
    def is_little(self) -> bool:
        """Return whether a scrape should render what has changed, and not wait for it."""
        return max(len(self._blocks.dirty), len(self._blocks.changed)) <= LITTLE

    def note_changes(self, now: float) -> None:
        """Note that what has changed since the last call changed at ``now``."""
        self._noted = now
        for part in reversed(self._blocks.changed):
            if part.changed is not None:
                break
            part.changed = now

    @property
    def oldest(self) -> float | None:
        """Return when the oldest change was noted that is not joined; ``None`` if there is none."""
        return min(map(_changed, self._blocks.changed), default=None)

    def refresh(self) -> Iterator[None]:
        """Render and join what has changed until now, pausing after each step."""
        for part in list(self._blocks.changed):
            if part in self._blocks.changed:
                yield from self._refresh(part)

    def refresh_oldest(self) -> Iterator[None]:
        """Render and join the part that changed first, pausing after each step.

        Raises ``ValueError`` if none has changed.
        """
        return self._refresh(min(self._blocks.changed, key=_changed))

    def capture(self) -> list[tuple[Family, list[DeflatedText]]]:
        """Return each family with its texts as they are joined now."""
        captured = [part.rendered.families for part in self._blocks.parts if part.rendered]
        return [
            (family, [texts[at] for texts in captured]) for at, family in enumerate(self.families)
        ]

    def _refresh(self, part: Part[K, R]) -> Iterator[None]:
        began = self._noted
        for together in self._blocks.shown_together(part):
            for block in list(together.blocks):
                if block in self._blocks.dirty:
                    self._render_again(block)
                    yield
        if part.blocks:  # it may be gone since the last pause
            self._join(self._blocks.shown_together(part), began)
            yield

    def _join(self, parts: list[Part[K, R]], began: float) -> None:
        """Show the newest texts of these parts, whose blocks were rendered from ``began`` on."""
        for part in parts:
            for block in part.blocks:
                if block.rendered is None:  # split or merged since it was rendered
                    self._render_again(block)
            part.rendered = self._joined(part)
            part.shown_before = False
            if any(block in self._blocks.dirty for block in part.blocks):
                part.changed = began  # they changed later
            else:
                self._blocks.changed.pop(part, None)
                part.changed = None

    def _joined(self, part: Part[K, R]) -> _PartTexts:
        old: _PartTexts | None = part.rendered or None
        blocks = tuple(part.blocks)
        texts: list[BlockTexts] = [block.rendered for block in blocks]
        families: list[DeflatedText] = []
        for at in range(len(self.families)):
            if old and old.blocks == blocks:
                present = old.families[at]
                if all(each.is_in(at, present.deflated) for each in texts):
                    families.append(present)
                    continue
            joined = DeflatedText.joined([each.text(at) for each in texts])
            families.append(joined)
            start = 0
            for each in texts:
                start = each.move(at, joined.deflated, start)
        return _PartTexts(blocks, tuple(families))

    def _render_again(self, block: Block[K, R]) -> None:
        before = self._blocks.dirty.pop(block, None)
        if not (before and block.rendered and self._replaces_lines):
            before = {}
        if before and self._replace_lines(block, before):
            return
        lines = self._render(zip(block.keys, block.records, strict=True), self.families)
        block.rendered = BlockTexts([self._deflater.deflate(text.encode()) for text in lines])

    def _replace_lines(self, block: Block[K, R], before: dict[K, R]) -> bool:
        """Replace the lines of records; ``before`` has them as they were rendered.

        Returns ``False`` if a record has lines in a family where it had none: only rendering the
        whole block then finds their place.
        """
        replaced: defaultdict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for key, record in before.items():
            old = self._render([(key, record)], self.families)
            new = self._render([(key, self._blocks.get(key))], self.families)
            for at, (was, now) in enumerate(zip(old, new, strict=True)):
                if was != now:
                    if not was:
                        return False
                    replaced[at].append((was.encode(), now.encode()))
        for at, lines in replaced.items():
            text = block.rendered.text(at).inflated()
            for was_, now_ in lines:
                # They are there once: they begin with all labels of their series.
                text = text.replace(was_, now_, 1)
            block.rendered.replace(at, self._deflater.deflate(text))
        return True


def _changed(part: Part[K, R]) -> float:
    return inf if part.changed is None else part.changed
