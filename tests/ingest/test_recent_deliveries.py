from __future__ import annotations

from generated_events import START

from exporter.errors import FieldError, InvalidEvent
from exporter.ingest.recent_deliveries import MAX_UNVERIFIED, MAX_VERIFIED, RecentDeliveries
from exporter.model.events import (
    Event,
    OtherEvent,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)

USAGE = UsageEvent("roamify", START, "e", "p", Snapshot(), iccid="8901", reference_id="r")


class Noted:
    """Recent deliveries, one per second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.deliveries = RecentDeliveries(lambda: self.now)

    def note(
        self, content: Event | InvalidEvent | None, code: int = 200, outcome: str = "accepted"
    ) -> None:
        self.now += 1
        error = "" if code == 200 else "why"
        self.deliveries.add(
            "roamify", content, code=code, outcome=outcome, error=error, duration=0.25
        )

    def times(self) -> list[float]:
        return [delivery.received for delivery in self.deliveries.newest(10_000)]


def test_a_delivery_is_told_without_what_could_be_an_iccid() -> None:
    noted = Noted()
    noted.note(USAGE)

    (delivery,) = noted.deliveries.newest(9)
    assert delivery == (100.75, "roamify", "usage", "e", 200, "accepted", "", 0.25)


def test_the_type_is_one_of_a_few_and_the_esim_may_be_unknown() -> None:
    noted = Noted()
    for content in (
        StatusEvent("roamify", START, "e", Status.NEW),
        PartnerEvent("roamify", "top_up", START, "EUR", 1.0),
        OtherEvent("roamify", "order"),
        InvalidEvent((FieldError(("x",), "is wrong"),)),
        None,
    ):
        noted.note(content)

    told = [(each.event_type, each.esim_id) for each in noted.deliveries.newest(9)]
    assert told == [("", ""), ("", ""), ("order", ""), ("top_up", ""), ("status", "e")]


def test_the_newest_come_first_as_many_as_are_wanted() -> None:
    noted = Noted()
    noted.note(USAGE)
    noted.note(None, 401, "signature")
    noted.note(USAGE, 503, "storage")
    noted.note(None, 413, "too_large")

    assert [d.code for d in noted.deliveries.newest(3)] == [413, 503, 401]
    assert [d.code for d in noted.deliveries.newest(9, lambda d: d.esim_id == "e")] == [503, 200]
    assert [d.error for d in noted.deliveries.newest(9)] == ["why", "why", "why", ""]


def test_both_kinds_are_bounded_and_strangers_push_out_strangers_only() -> None:
    noted = Noted()
    for _ in range(MAX_VERIFIED + 5):
        noted.note(USAGE)
    for _ in range(MAX_UNVERIFIED + 5):
        noted.note(None, 401, "signature")

    times = noted.times()
    assert len(times) == MAX_VERIFIED + MAX_UNVERIFIED
    assert times == sorted(times, reverse=True)
    assert times[-1] == 105.75
    assert times[MAX_UNVERIFIED - 1] - times[MAX_UNVERIFIED] == 6
