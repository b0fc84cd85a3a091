from __future__ import annotations

import inspect

import pytest
from looping import for_every


def test_every_failing_item_is_named_with_its_error() -> None:
    @for_every("number", [1, 2, 3, 4], lambda number: f"number {number}")
    def check(number: int, divisor: int) -> None:
        if number == 4:
            raise KeyError("four")
        if number % divisor:
            raise AssertionError("is odd")

    with pytest.raises(AssertionError) as failure:
        check(divisor=2)
    lines = str(failure.value).splitlines()
    assert lines[0] == "3 of 4:"
    assert lines[1].startswith("number 1: AssertionError: is odd")
    assert lines[2].startswith("number 3: AssertionError: is odd")
    assert lines[3] == "number 4: KeyError: 'four'"
    assert list(inspect.signature(check).parameters) == ["divisor"]


def test_a_check_that_passes_for_every_item_passes() -> None:
    seen: list[str] = []

    @for_every("word", ["a", "b"], str)
    def check(word: str) -> None:
        seen.append(word)

    check()
    assert seen == ["a", "b"]


def test_a_check_of_nothing_fails() -> None:
    with pytest.raises(AssertionError, match="nothing to check"):
        for_every("word", [], str)(print)()
