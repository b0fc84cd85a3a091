"""Answers in plain text: one line for programs and for people with ``curl``."""

from __future__ import annotations

from quart import Response


def plain_text(text: str, code: int = 200) -> Response:
    """Return an answer in plain text."""
    return Response(text, code, content_type="text/plain; charset=utf-8")
