from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import FieldError, FutureEvent, InvalidEvent
from exporter.ingest.clock_check import ClockCheck
from exporter.model.events import MAX_AHEAD, OtherEvent, Status, StatusEvent

if TYPE_CHECKING:
    from exporter.errors import EventError
    from exporter.model.events import Event

HOUR = 3600
DAY = 24 * HOUR
RIGHT = 1_700_000_000


class Machine:
    """A machine whose clock is ``wrong_by`` seconds behind."""

    def __init__(self, wrong_by: int = 0) -> None:
        self.wrong_by = wrong_by
        self.check = ClockCheck(lambda: RIGHT - self.wrong_by)

    def receive(self, time: int = RIGHT) -> None:
        """Receive an event of this time, as the parser returns it or refuses it."""
        event: Event | EventError = StatusEvent("roamify", time, "e", Status.NEW)
        if time > RIGHT - self.wrong_by + MAX_AHEAD:
            event = FutureEvent(time, FieldError(("timestamp",), "is in the future"))
        self.check.note(event)


def test_a_clock_two_days_behind_is_noticed_with_the_third_event() -> None:
    machine = Machine(2 * DAY)
    seen = []
    for _ in range(4):
        machine.receive()
        seen.append(machine.check.behind)
    assert seen == [False, False, True, True]


def test_a_clock_that_is_right_or_ahead_or_behind_by_hours_is_not() -> None:
    for wrong_by in (0, -30 * DAY, 20 * HOUR):
        machine = Machine(wrong_by)
        for _ in range(30):
            machine.receive()
        assert not machine.check.behind


def test_a_single_sender_with_a_wrong_clock_does_not_accuse_this_machine() -> None:
    machine = Machine()
    for _ in range(30):
        machine.receive()
        machine.receive(RIGHT + 3 * DAY)
        machine.receive()
    assert not machine.check.behind


def test_the_judgement_changes_as_soon_as_the_clock_is_right() -> None:
    machine = Machine(2 * DAY)
    for _ in range(30):
        machine.receive()
    assert machine.check.behind
    machine.wrong_by = 0
    assert not machine.check.behind


def test_what_has_no_time_does_not_count() -> None:
    machine = Machine(2 * DAY)
    for _ in range(30):
        machine.check.note(OtherEvent("roamify", "order"))
        machine.check.note(InvalidEvent((FieldError((), "must be an object"),)))
    assert not machine.check.behind
    for _ in range(3):
        machine.receive()
    assert machine.check.behind
