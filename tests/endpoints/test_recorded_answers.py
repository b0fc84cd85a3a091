from __future__ import annotations

from pathlib import Path

import recorded_answers

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("recorded")


def test_every_text_and_every_answer_is_byte_for_byte_as_recorded() -> None:
    found = recorded_answers.record(ROOT)
    expected = {name: (RECORDED / name).read_text("utf-8") for name in found}
    assert [name for name in found if found[name] != expected[name]] == []
    assert found == expected
