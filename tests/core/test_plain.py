"""What is kept for scrapes without gzip says the same as what is kept for those with it."""

from __future__ import annotations

import random
from time import monotonic
from zlib import decompress

import pytest
from generated_events import MB, START
from hypothesis import given
from hypothesis import strategies as st
from memory_storage import MemoryStorage
from running_fleet import STATE, RunningFleet
from working_intake import at_work, text_of

from exporter import pieces
from exporter.application import application
from exporter.events import Snapshot, UsageEvent
from exporter.exposition import Format
from exporter.plain import Columns, Plain
from exporter.web import Telemetry, WebOptions

LABELS = st.sampled_from([b'{esim_id="a"} 1\n', b'{esim_id="b"} 22\n', b"e", b"\xff\0"])
TEXTS = st.lists(st.lists(LABELS, max_size=50).map(b"".join) | st.binary(max_size=50), max_size=6)


@given(TEXTS)
def test_what_is_packed_reads_as_it_was(texts: list[bytes]) -> None:
    plain = Plain.of(texts)
    assert [plain.text(at) for at in range(len(texts))] == texts
    columns = Columns([plain, plain, plain])
    assert [columns.text(at, 1, 3) for at in range(len(texts))] == [2 * t for t in texts]


def test_texts_longer_than_what_can_be_referred_to() -> None:
    chance = random.Random(1)
    words = [b"".join(b"%d" % chance.randrange(10**9) for _ in range(20_000)) for _ in range(2)]
    texts = [words[0], words[0] + words[1], words[1][:70_000] + words[0]]
    assert min(map(len, texts)) > 2 * 65_536
    plain = Plain.of(texts)
    assert [plain.text(at) for at in range(len(texts))] == texts
    columns = Columns([plain, plain, plain])
    assert [columns.text(at, 1, 3) for at in range(len(texts))] == [2 * t for t in texts]


def used(number: int, at: int) -> UsageEvent:
    snapshot = Snapshot(data_allowed=MB, data_remaining=MB - at, locations=(("Peru", at),))
    return UsageEvent("roamify", START + at, f"e{number:04}", "p", snapshot)


class Asked:
    """A fleet of some blocks, of which a scrape without gzip was asked for."""

    def __init__(self) -> None:
        self.running = RunningFleet()
        self.running.take(*[used(number, 1) for number in range(300)])
        self.running.text()
        self.running.exposition.expect_plain(100.0)

    def pack(self, now: float, most: int = 1000) -> int:
        """Work as the background does; return in how many steps all was done."""
        return sum(1 for _ in zip(range(most), self.running.exposition.pack(now), strict=False))

    def agrees(self) -> bool:
        scrape = self.running.scrape()
        text = b"".join(scrape.identity())
        assert len(text) == scrape.size
        assert text.decode() == self.running.restarted().text()
        return text == decompress(b"".join(scrape.gzip()), wbits=31)


@pytest.mark.parametrize("chunk", [1, 20_000, pieces.PLAIN_CHUNK])
@pytest.mark.parametrize("most", [0, 1, 3, 1000])
def test_scrapes_agree_however_much_is_packed(
    most: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PLAIN_CHUNK", chunk)  # so few blocks would go at once
    asked = Asked()
    asked.pack(101.0, most)
    assert asked.agrees()
    asked.running.take(*[used(number, 2) for number in range(0, 300, 7)], used(1000, 2))
    asked.pack(102.0, most)  # of what is old, by now
    assert asked.agrees()
    asked.pack(102.0, most)
    assert asked.agrees()
    asked.running.now += 400 * 86400
    asked.running.expire()
    assert asked.agrees()
    asked.pack(103.0, most)
    assert asked.agrees()


def test_only_what_is_new_is_packed_and_nothing_is_kept_that_nobody_asks_for() -> None:
    asked = Asked()
    rows = [block.rendered for block in asked.running.fleet.esims.blocks.blocks]
    assert len(rows) > 3
    assert asked.pack(101.0) >= len(rows)
    assert all(row.plain for row in rows)
    asked.running.take(used(0, 2))
    asked.running.text()
    assert asked.pack(102.0) <= 1
    assert asked.pack(103.0) == 0

    asked.pack(100.0 + 86400)
    rows = [block.rendered for block in asked.running.fleet.esims.blocks.blocks]
    assert not any(row.plain for row in rows)
    assert asked.agrees()
    assert asked.pack(101.0 + 86400) == 0


def test_what_is_captured_stays_though_it_is_packed_or_no_longer() -> None:
    asked = Asked()
    scrape = asked.running.exposition.scrape(STATE, Format.TEXT, asked.running.now)
    before = b"".join(scrape.identity())
    half = []
    for chunk in scrape.identity():
        half.append(chunk)
        asked.pack(101.0)
        asked.running.take(*[used(number, 3) for number in range(300)])
        asked.running.text()
    assert b"".join(half) == before == b"".join(scrape.identity())
    asked.pack(100.0 + 86400)
    assert b"".join(scrape.identity()) == before


@pytest.mark.parametrize(
    ("query", "encoding", "kept"),
    [
        ("", "identity", True),
        ("?collect[]=esims", "identity", True),
        ("", "gzip", False),
        ("?collect[]=fleet", "identity", False),
        ("?exclude[]=esims", "identity", False),
    ],
)
async def test_only_a_scrape_of_esims_without_gzip_lets_it_be_kept(
    query: str, encoding: str, kept: bool
) -> None:
    options = WebOptions("", "/metrics", False, 0, 60)
    async with at_work(MemoryStorage()) as room:
        await room.submit(used(1, 1))
        telemetry = Telemetry(options, room.intake, room.metrics, lambda: room.now)
        app = application("test", [telemetry.blueprint()], room.metrics, json_errors=False)
        headers = {"Accept-Encoding": encoding}
        assert (await app.test_client().get(f"/metrics{query}", headers=headers)).status_code == 200
        text_of(room.state, room.now)  # rendered, whatever was asked for
        assert any(True for _ in room.state.exposition.pack(monotonic())) is kept
