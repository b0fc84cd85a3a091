from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.compact_store import RecordList

ACTIONS = ("insert", "replace", "delete", "cut", "splice", "extend")
records = st.lists(st.binary(max_size=9), max_size=6)


@given(start=records, data=st.data())
def test_a_shelf_is_a_list(start: list[bytes], data: st.DataObject) -> None:
    shelf, plain = RecordList(start), list(start)
    for _ in range(4):
        record = data.draw(st.binary(max_size=9))
        place = data.draw(st.integers(0, len(plain)))
        match data.draw(st.sampled_from(ACTIONS)):
            case "insert":
                shelf.insert(place, record)
                plain.insert(place, record)
            case "replace" if place < len(plain):
                shelf[place] = plain[place] = record
            case "delete" if place < len(plain):
                del shelf[place], plain[place]
            case "cut":
                del shelf[place:], plain[place:]
            case "splice":
                shelf[place : place + 2] = plain[place : place + 2] = [record, b"x"]
            case "extend":
                shelf += RecordList([record])
                plain += [record]
        assert list(shelf) == plain
        assert len(shelf) == len(plain)
        assert [shelf[at] for at in range(len(plain))] == plain
        assert list(shelf[place:]) == plain[place:]


def test_who_looks_through_a_shelf_does_not_see_what_changes_meanwhile() -> None:
    shelf = RecordList([b"a", b"b"])
    looking = iter(shelf)
    assert next(looking) == b"a"
    shelf[1] = b"longer than before"
    assert list(looking) == [b"b"]
