from __future__ import annotations

from exporter.logs import MOST, WINDOW, Throttle


def test_holds_back_what_comes_too_often_and_says_later_how_much_that_was() -> None:
    now = 100.0
    throttle = Throttle(lambda: now)
    assert [throttle.admit("signature") for _ in range(MOST + 3)] == [0] * MOST + [None] * 3
    assert throttle.admit("malformed") == 0
    now += WINDOW
    assert throttle.admit("signature") == 3
    assert throttle.admit("signature") == 0
