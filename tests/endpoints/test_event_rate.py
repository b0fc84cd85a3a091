from __future__ import annotations

from exporter.endpoints.status.event_rate import MINUTES, STEP, EventRate


def looked(counts: dict[int, float], until: int) -> EventRate:
    """Return one that looked every ten seconds at a counter that rises at some of them."""
    pace = EventRate()
    total = 0.0
    for at in range(0, until + 1, STEP):
        total += counts.get(at, 0.0)
        pace.note(at, total)
    return pace


def test_nothing_is_known_before_the_first_look() -> None:
    assert EventRate().per_minute(5, 100) == 0
    assert EventRate().minutes(5, 100) == (None,) * MINUTES


def test_the_rate_is_that_of_the_last_five_minutes() -> None:
    pace = looked({10: 1000, 700: 30}, 800)
    assert pace.per_minute(800, 1035) == (1035 - 1000) / 5


def test_the_rate_is_not_exaggerated_right_after_the_start() -> None:
    pace = looked({}, 0)
    assert pace.per_minute(1, 7) == 7 * 60 / STEP
    assert pace.per_minute(30, 7) == 14


def test_nothing_came_while_nobody_looked() -> None:
    assert looked({10: 1000}, 60).per_minute(10_000, 1000) == 0


def test_each_minute_has_what_came_in_it() -> None:
    pace = looked({60: 4, 130: 5}, 180)
    minutes = pace.minutes(185, 10)
    assert minutes[-4:] == (0, 4, 0, 6)
    assert set(minutes[:-4]) == {None}


def test_no_more_than_an_hour_is_kept() -> None:
    pace = looked(dict.fromkeys(range(0, 10_000, STEP), 1), 9000)
    assert pace.minutes(9000, 901) == (6,) * MINUTES
