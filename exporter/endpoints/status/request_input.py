"""Reading what a browser sends: query parameters and small forms."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from quart import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FORM = 4096
"""Bytes of a form; no form of ours is longer."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")

_FORM_TIMEOUT = 5.0
"""Seconds in which a form must arrive."""


async def read_form() -> Mapping[str, str]:
    """Return the fields of the form that was sent. Of equal names, the last one counts.

    The body is read here with a limit of size and time, because the application sets none. Raises
    the HTTP errors 400, 408 and 413.
    """
    body = b""
    try:
        async with asyncio.timeout(_FORM_TIMEOUT):
            async for chunk in request.body:
                body += chunk
                if len(body) > MAX_FORM:
                    raise RequestEntityTooLarge
    except TimeoutError:
        raise RequestTimeout from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise BadRequest from None


def page_number() -> int:
    """Return the requested page of a list, counted from 1. Raises the HTTP error 400."""
    text = request.args.get("page", "1")
    if not _NUMBER.fullmatch(text):
        raise BadRequest("page must be a number from 1 on")
    return int(text)


def chosen(name: str, among: Mapping[str, object], default: str) -> str:
    """Return the value of a parameter that must be one of a few. Raises the HTTP error 400."""
    value = request.args.get(name, default)
    if value not in among:
        raise BadRequest(f"{name} must be one of: {', '.join(filter(None, among))}")
    return value
