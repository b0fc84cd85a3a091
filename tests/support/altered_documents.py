"""Documents of vendors with any JSON values in any places, for property tests."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from exporter.errors import EventError, InvalidEvent, MalformedEvent
from exporter.model.events import (
    MAX_AHEAD,
    MAX_AMOUNT,
    MAX_IDENTIFIER,
    PartnerEvent,
    UsageEvent,
)
from exporter.model.events import OtherEvent as Counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path as File

    from exporter.model.events import Event

    Path = tuple[str | int, ...]

EARLIEST = 1_420_070_400
WORDS = ("true", "1e18", "-0.5", "9" * 30, "x" * 300, "\0", "", "2026-04-24T07:31:05Z")
NUMBERS = (10**999, -(10**4000), MAX_AMOUNT, 2**63, 2**53 - 1, -1, 0, 1e300, -0.0)


def payloads(folder: File) -> dict[str, bytes]:
    """Return the payloads of a folder by their names."""
    return {file.stem: file.read_bytes() for file in sorted(folder.glob("*.json"))}


def paths(value: Any) -> list[Path]:
    """Return the path of every value in a document, the document itself included."""
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [(), *((key, *path) for key, child in children for path in paths(child))]


def replaced(document: Any, path: Path, value: Any) -> Any:
    """Return a document with another value at a path. An object there may get a new key."""
    if not path:
        return value
    document = copy.copy(document)
    inner = document.get(path[0]) if isinstance(document, dict) else document[path[0]]
    document[path[0]] = replaced(inner, path[1:], value)
    return document


def without(document: Any, path: Path) -> Any:
    """Return a document without the value at a path."""
    document = copy.deepcopy(document)
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return document


def any_json(words: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """Draw any JSON value; often one of the words, or a number at a limit."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from(NUMBERS),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=10),
        st.sampled_from([*WORDS, *words]),
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    )


@st.composite
def altered(draw: st.DrawFn, bodies: Sequence[bytes], words: Sequence[str] = ()) -> bytes:
    """Draw a payload with any JSON values in one to four places, or without some of its values."""
    document = json.loads(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(paths(document)))
        if path and draw(st.integers(0, 3)) == 0:
            document = without(document, path)
        else:
            document = replaced(document, path, draw(any_json(words)))
    return json.dumps(document).encode()


@st.composite
def damaged(draw: st.DrawFn, bodies: Sequence[bytes]) -> bytes:
    """Draw a payload with a few bytes replaced by others."""
    body = draw(st.sampled_from(bodies))
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=10)) + body[at + draw(st.integers(0, 30)) :]


def assert_taken_or_refused(parse: Callable[[], Event], now: float) -> None:
    """Check that a body is refused as documented, or gives an event that can be stored."""
    try:
        event = parse()
    except MalformedEvent:
        return
    except InvalidEvent as error:
        assert 1 <= len(error.errors) <= 20  # noqa: PT017  # both outcomes are right
        return
    if isinstance(event, Counted):
        return
    assert EARLIEST <= event.time <= now + MAX_AHEAD
    if isinstance(event, PartnerEvent):
        return
    if isinstance(event, UsageEvent):
        _assert_within_bounds(event, now)
    texts = (getattr(event, name, None) for name in ("reference_id", "iccid", "package_name"))
    for text in (event.esim_id, *(text for text in texts if text is not None)):
        assert 0 < len(text) <= MAX_IDENTIFIER
        assert "\0" not in text


def _assert_within_bounds(event: UsageEvent, now: float) -> None:
    snapshot = event.snapshot
    amounts = snapshot._asdict()
    for name in ("data_unlimited", "start", "end", "locations"):
        del amounts[name]
    given = {name: amount for name, amount in amounts.items() if amount is not None}
    assert all(type(amount) is int and 0 <= amount <= MAX_AMOUNT for amount in given.values())
    assert {name.partition("_")[0] for name in given} <= event.parts
    for time in (snapshot.start, snapshot.end):
        assert time is None or abs(time) <= MAX_AMOUNT
    assert event.reported is None or EARLIEST <= event.reported <= now + MAX_AHEAD
    assert 0 < len(event.package_id) <= MAX_IDENTIFIER
    if event.assignment:
        assert event.assignment.start >= 0
        assert len(event.assignment.name) <= MAX_IDENTIFIER


def errors_with_value_everywhere(
    parse: Callable[[bytes], Event], body: bytes, value: Any
) -> Iterator[str]:
    """Yield the text of each error that a value causes in one of the places of a document."""
    document = json.loads(body)
    for path in paths(document):
        try:
            parse(json.dumps(replaced(document, path, value)).encode())
        except EventError as error:
            yield str(error)
