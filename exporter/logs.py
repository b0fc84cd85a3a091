"""Log records as logfmt or JSON: one record is one line, whatever it holds.

Facts go beside the message, not into it::

    log.warning("event rejected", extra=fields(reason="invalid", loc="data.usage_list.0.date"))

Records that strangers can cause pass a :class:`Throttle` first, so that they cannot fill the log.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LogLevel = Literal["debug", "info", "warn", "error"]

Value = str | int | float | bool | None

MAX_ADMITTED = 20
"""Records of one kind that a throttle lets through in a window."""

THROTTLE_WINDOW = 60.0
"""Seconds."""

_LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}

_SERVER_LOGGERS = ("hypercorn.access", "hypercorn.error", "quart.app", "asyncio")

_BARE = re.compile(r'[^\s"=\\]+')
"""Values that logfmt writes without quotes, if all characters are printable."""

_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_.-]")

_MAX_BITS = 64
"""Longer integers are written as text: most readers of JSON cannot hold them, and Python refuses
to write very long ones."""


def configure(
    level: LogLevel, log_format: Literal["logfmt", "json"], stream: TextIO | None = None
) -> None:
    """Send all records of ``level`` and above to ``stream``, by default standard error.

    Call it before making the Quart app, and give Hypercorn
    ``errorlog=logging.getLogger("hypercorn.error")``; otherwise both add handlers of their own.
    Call it again to change the level on a reload. The access log is off.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Formatter(_logfmt if log_format == "logfmt" else _json))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    for name in _SERVER_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    logging.getLogger("hypercorn.access").disabled = True


def fields(**values: object) -> Mapping[str, object]:
    """Return the ``extra`` that adds ``values`` to a record.

    Text, numbers and booleans are written as they are, all other values with ``str``.
    """
    return {"fields": values}


def fields_of_error(error: BaseException, **values: object) -> Mapping[str, object]:
    """Return the ``extra`` that adds the type of an error, where it was raised, and ``values``.

    The message of the error is left out: it might quote an eSIM or a request body.
    """
    frames = traceback.extract_tb(error.__traceback__)
    at = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return fields(error=type(error).__name__, at=at, **values)


class Throttle:
    """Lets through :data:`MAX_ADMITTED` records of each kind in a window, and counts the others."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` gives seconds and never goes back."""
        self._clock = clock
        self._kinds: dict[str, _Window] = {}

    def admit(self, kind: str) -> int | None:
        """Return ``None`` if this record must not be logged.

        Otherwise return how many of its kind were held back since the last one that was logged.
        """
        now = self._clock()
        window = self._kinds.setdefault(kind, _Window(now))
        if now - window.began >= THROTTLE_WINDOW:
            window.began, window.admitted = now, 0
        if window.admitted == MAX_ADMITTED:
            window.held_back += 1
            return None
        held_back, window.held_back = window.held_back, 0
        window.admitted += 1
        return held_back


@dataclass(slots=True)
class _Window:
    began: float
    admitted: int = 0
    held_back: int = 0


class _Formatter(logging.Formatter):
    """Turns a record into keys and values, and writes them as a line with ``write``."""

    def __init__(self, write: Callable[[Mapping[str, Value]], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Value] = {
            "ts": _timestamp(record.created),
            "level": _level(record.levelno),
            "component": _component(record.name),
            "msg": _message(record),
        }
        extra = getattr(record, "fields", None)
        for name, value in extra.items() if isinstance(extra, dict) else ():
            entry.setdefault(_NOT_IN_KEY.sub("_", str(name)), _value(value))
        if record.exc_info and record.exc_info[1]:
            entry["exception"] = _traceback(record.exc_info[1])
        return self._write(entry)


def _component(logger: str) -> str:
    """Return the module's name for a logger of this program, the whole name for other loggers."""
    return logger.rpartition(".")[2] if logger.startswith("exporter.") else logger


def _logfmt(entry: Mapping[str, Value]) -> str:
    return " ".join(f"{key}={_bare_or_quoted(value)}" for key, value in entry.items())


def _bare_or_quoted(value: Value) -> str:
    if isinstance(value, str):
        return value if value.isprintable() and _BARE.fullmatch(value) else _json(value)
    return _json(value)


def _json(value: object) -> str:
    """Write as JSON; escape everything that could end the line or control a terminal."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _timestamp(seconds: float) -> str:
    """Write unix seconds as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _level(number: int) -> LogLevel:
    """Return the name of the highest level that ``number`` reaches."""
    reached = [name for name, least in _LEVELS.items() if number >= least]
    return reached[-1] if reached else "debug"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # wrong arguments must not lose the record
        return _text(record.msg)


def _value(value: object) -> Value:
    match value:
        case None | bool():
            return value
        case int() if value.bit_length() < _MAX_BITS:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case _:
            return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # one value must not lose the record
        return f"<{type(value).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:  # noqa: BLE001  # a traceback must not lose the record
        return type(error).__name__
