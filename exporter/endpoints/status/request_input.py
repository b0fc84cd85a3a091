"""What a browser sends: parameters of a list and small forms."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from quart import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 4096
"""Bytes of a form; above what the longest one has."""

_NUMBER = re.compile("[1-9][0-9]{0,8}")

_PATIENCE = 5.0
"""Seconds for a form to arrive."""


async def read_form() -> Mapping[str, str]:
    """Return the fields of the form that was sent, the last of a name counting.

    Read here because the application bounds no bodies by itself. Raises what is answered with
    400, 408 or 413.
    """
    body = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in request.body:
                body += chunk
                if len(body) > MOST:
                    raise RequestEntityTooLarge
    except TimeoutError:
        raise RequestTimeout from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise BadRequest from None


def page_number() -> int:
    """Return which page of a list is asked for, from 1 on. Raises what is answered with 400."""
    text = request.args.get("page", "1")
    if not _NUMBER.fullmatch(text):
        raise BadRequest("page is not a number from 1 on")
    return int(text)


def chosen(name: str, among: Mapping[str, object], default: str) -> str:
    """Return the value of a parameter that is one of a few. Raises what is answered with 400."""
    value = request.args.get(name, default)
    if value not in among:
        raise BadRequest(f"{name} is none of: {', '.join(filter(None, among))}")
    return value
