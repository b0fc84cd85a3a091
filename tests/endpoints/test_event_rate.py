from __future__ import annotations

from exporter.endpoints.status.overview import MINUTES, STEP, EventRate


def sampled(counts: dict[int, float], until: int) -> EventRate:
    """Return the rate of a counter that was sampled every ten seconds.

    ``counts`` are the increases of the counter, by the second at which they happen.
    """
    rate = EventRate()
    total = 0.0
    for at in range(0, until + 1, STEP):
        total += counts.get(at, 0.0)
        rate.add_sample(at, total)
    return rate


def test_nothing_is_known_before_the_first_sample() -> None:
    assert EventRate().per_minute(5, 100) is None
    assert EventRate().minutes(5, 100) == (None,) * MINUTES


def test_the_rate_is_that_of_the_last_five_minutes() -> None:
    rate = sampled({10: 1000, 700: 30}, 800)
    assert rate.per_minute(800, 1035) == (1035 - 1000) / 5


def test_no_rate_is_told_before_there_is_a_minute_to_count() -> None:
    rate = sampled({}, 50)
    assert rate.per_minute(59, 7) is None
    assert rate.per_minute(60, 7) == 7
    assert rate.per_minute(120, 7) == 3.5


def test_the_rate_is_zero_long_after_the_last_event() -> None:
    assert sampled({10: 1000}, 60).per_minute(10_000, 1000) == 0


def test_each_minute_has_its_own_events() -> None:
    rate = sampled({60: 4, 130: 5}, 180)
    minutes = rate.minutes(185, 10)
    assert minutes[-4:] == (0, 4, 0, 6)
    assert set(minutes[:-4]) == {None}


def test_no_more_than_an_hour_is_kept() -> None:
    rate = sampled(dict.fromkeys(range(0, 10_000, STEP), 1), 9000)
    assert rate.minutes(9000, 901) == (6,) * MINUTES
