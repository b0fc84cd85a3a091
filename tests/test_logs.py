from __future__ import annotations

import io
import json
import logging
import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING

import pytest
from hypercorn.config import Config
from hypercorn.logging import Logger as HypercornLogger
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart

from exporter.logs import MAX_ADMITTED, THROTTLE_WINDOW, Throttle, configure, fields

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAIR = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)')

log = logging.getLogger("exporter.endpoints.webhook")


class Colour(StrEnum):
    RED = "RED"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


class UnprintableError(Exception):
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]  # it must fail
        raise RuntimeError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Restore the loggers of the process."""
    names = ("", "hypercorn.access", "hypercorn.error", "quart.app", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.handlers, each.level, each.propagate, each.disabled) for each in loggers]
    yield
    for each, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        each.handlers, each.propagate, each.disabled = handlers, propagate, disabled
        each.setLevel(level)


def logfmt(line: str) -> dict[str, str]:
    """Read a line as logfmt parsers do: values are bare, or quoted with the escapes of JSON."""
    pairs = _PAIR.findall(line)
    assert " ".join(f"{key}={value}" for key, value in pairs) == line
    return {key: json.loads(value) if value[:1] == '"' else value for key, value in pairs}


def test_logfmt_writes_time_level_component_message_and_fields() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)
    record = log.makeRecord(
        log.name,
        logging.WARNING,
        __file__,
        1,
        "event rejected",
        (),
        None,
        extra=fields(reason="invalid", status=422, durable=True, vendor=None, delay=0.25),
    )
    record.created = 1_700_000_000.0625

    log.handle(record)

    assert stream.getvalue() == (
        'ts=2023-11-14T22:13:20.062Z level=warn component=webhook msg="event rejected" '
        "reason=invalid status=422 durable=true vendor=null delay=0.25\n"
    )


def test_json_writes_one_object_a_line() -> None:
    stream = io.StringIO()
    configure("debug", "json", stream)

    log.debug("took %d events", 3, extra=fields(location="Åland Islands", size=5, ok=False))

    line = stream.getvalue()
    entry = json.loads(line)
    assert "Åland" in line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("ts"))
    assert entry == {
        "level": "debug",
        "component": "webhook",
        "msg": "took 3 events",
        "location": "Åland Islands",
        "size": 5,
        "ok": False,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("Åland", "Åland"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\r\tc", r'"a\nb\r\tc"'),
        ("a\x00\x1b[31m\x7f\x85b", r'"a\u0000\u001b[31m\u007f\u0085b"'),
        ("a\u2028b\u2029c\u202ed", r'"a\u2028b\u2029c\u202ed"'),
        ("\ud800", r'"\ud800"'),
        (("data", 0), "\"('data', 0)\""),
        (Colour.RED, "RED"),
        (2**63, "9223372036854775808"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Unprintable(), "<Unprintable>"),
        pytest.param(10**5000, "<int>", id="more digits than Python writes"),
    ],
)
def test_logfmt_quotes_values_that_would_break_a_line(value: object, written: str) -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)

    log.info("x", extra=fields(value=value))

    assert stream.getvalue().partition(" msg=x value=")[2] == f"{written}\n"


@pytest.mark.parametrize("value", [float("nan"), 2**80, Unprintable(), {1: {2}}])
def test_json_stays_json_whatever_the_value(value: object) -> None:
    stream = io.StringIO()
    configure("info", "json", stream)

    log.info("x", extra=fields(value=value))

    entry = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert isinstance(entry["value"], str)


@given(st.text(), st.text(), st.text())
def test_one_record_is_one_line_that_reads_back(message: str, name: str, value: str) -> None:
    for log_format, read in (("logfmt", logfmt), ("json", json.loads)):
        stream = io.StringIO()
        configure("info", log_format, stream)  # type: ignore[arg-type]  # a str to mypy

        log.info("%s", message, extra=fields(**{f"x{name}": value}))

        line = stream.getvalue()
        assert len(line.splitlines()) == 1
        assert line.encode()
        entry = read(line[:-1])
        assert entry["msg"] == message
        assert list(entry.values())[-1] == value


def test_a_field_does_not_replace_the_record_s_own() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)

    log.info("the message", extra=fields(msg="other", level="fatal"))

    entry = json.loads(stream.getvalue())
    assert (entry["msg"], entry["level"]) == ("the message", "info")


def test_an_exception_becomes_one_field() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)

    try:
        json.loads("first\nsecond")
    except ValueError:
        log.exception("it broke")

    (line,) = stream.getvalue().splitlines()
    entry = logfmt(line)
    assert entry["level"] == "error"
    assert entry["exception"].startswith("Traceback (most recent call last):\n")
    assert entry["exception"].endswith("JSONDecodeError: Expecting value: line 1 column 1 (char 0)")


def test_an_exception_that_cannot_be_shown_is_named() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)

    log.error("it broke", exc_info=UnprintableError())

    assert stream.getvalue().endswith('msg="it broke" exception=UnprintableError\n')


def test_exc_info_without_an_exception_adds_nothing() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)

    log.info("fine", exc_info=(None, None, None))

    assert stream.getvalue().endswith(" msg=fine\n")


def test_a_message_with_wrong_arguments_is_not_lost() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)

    log.info("%d events", "three")
    log.info(Unprintable())

    assert [line.partition(" msg=")[2] for line in stream.getvalue().splitlines()] == [
        '"%d events"',
        "<Unprintable>",
    ]


@pytest.mark.parametrize(
    ("number", "name"),
    [(5, "debug"), (10, "debug"), (25, "info"), (30, "warn"), (40, "error"), (50, "error")],
)
def test_every_level_has_one_of_four_names(number: int, name: str) -> None:
    stream = io.StringIO()
    configure("debug", "json", stream)
    record = log.makeRecord(log.name, number, __file__, 1, "x", (), None)

    log.handle(record)

    assert json.loads(stream.getvalue())["level"] == name


def test_leaves_out_what_is_below_the_level_and_takes_a_new_level() -> None:
    stream = io.StringIO()
    configure("warn", "logfmt", stream)
    log.info("unseen")
    configure("info", "logfmt", stream)

    log.info("seen")

    assert re.fullmatch(r"ts=\S+ level=info component=webhook msg=seen\n", stream.getvalue())


def test_writes_to_standard_error_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "logfmt")

    log.info("hello")

    assert capsys.readouterr().err.endswith("msg=hello\n")
    assert sys.stderr is not None


async def test_records_of_the_server_come_once_and_the_access_log_not_at_all() -> None:
    stream = io.StringIO()
    leftover = logging.getLogger("hypercorn.error")
    leftover.addHandler(logging.StreamHandler(stream))
    configure("info", "logfmt", stream)
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")

    server = HypercornLogger(config)
    await server.info("Running on %s", "http://[::]:10877")
    Quart("quart.app").logger.error("unhandled")
    logging.getLogger("asyncio").warning("slow callback")
    logging.getLogger("hypercorn.access").info("GET /metrics")

    assert [line.partition(" ")[2] for line in stream.getvalue().splitlines()] == [
        'level=info component=hypercorn.error msg="Running on http://[::]:10877"',
        "level=error component=quart.app msg=unhandled",
        'level=warn component=asyncio msg="slow callback"',
    ]


def test_a_throttle_holds_back_what_comes_too_often_and_later_says_how_much_that_was() -> None:
    now = 100.0
    throttle = Throttle(lambda: now)
    admitted = [throttle.admit("signature") for _ in range(MAX_ADMITTED + 3)]
    assert admitted == [0] * MAX_ADMITTED + [None] * 3
    assert throttle.admit("malformed") == 0
    now += THROTTLE_WINDOW
    assert throttle.admit("signature") == 3
    assert throttle.admit("signature") == 0
