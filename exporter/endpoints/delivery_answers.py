"""What a delivery is answered: 200, or a refusal with its reason.

Every answer is JSON: ``{"code": <status>, "status": "success" | "error", ...}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from exporter.errors import (
    FutureEvent,
    InvalidEvent,
    MalformedEvent,
    Overloaded,
    StorageUnavailable,
)
from exporter.http.timeouts import RETRY_AFTER
from exporter.model.refusals import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.errors import FieldError

SUCCESS = b'{"code":200,"status":"success"}\n'


class Refused(Exception):
    """A delivery is refused before it is parsed; nothing of it is kept."""


class BodyTooLarge(Refused):
    """The body is larger than allowed."""


class BodyTooSlow(Refused):
    """The body did not arrive in time."""


class EncodedBody(Refused):
    """The body has a content encoding."""


class Unsigned(Refused):
    """The signature or the token is missing or empty."""


class WrongSignature(Refused):
    """No secret gives this signature for the body, or the token is none of the secrets."""


class UnknownSender(Refused):
    """Only certain addresses may send, and this is none of them."""


_REASONS: dict[type[Exception], str] = {
    BodyTooLarge: "too_large",
    BodyTooSlow: "timeout",
    EncodedBody: "encoding",
    Unsigned: "unsigned",
    WrongSignature: "signature",
    UnknownSender: "signature",
    MalformedEvent: "malformed",
    InvalidEvent: "invalid",
    FutureEvent: "invalid",
    StorageUnavailable: "storage",
    Overloaded: "overload",
}
"""Keys of ``REFUSALS``."""

_STORAGE_FAILS = "the event cannot be stored now, send it again later"
"""Error text for vendors. The real reason names files of this machine, so only the log has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a delivery."""

    code: int
    reason: str = ""
    """Label ``reason`` of ``webhook_rejected_total``; empty for an accepted delivery."""
    error: str = ""
    """Why the delivery was refused; empty for an accepted one."""
    errors: Sequence[FieldError] = ()
    """What is wrong with each field of an invalid event."""
    lingering: bool = False
    """Whether the client may still be sending its body."""

    @property
    def body(self) -> bytes:
        """Return the JSON document."""
        if not self.reason:
            return SUCCESS
        error = _STORAGE_FAILS if self.reason == "storage" else self.error
        document: dict[str, Any] = {"code": self.code, "status": "error", "error": error}
        if self.errors:
            document["errors"] = [{"loc": e.loc, "msg": e.msg} for e in self.errors]
        return to_json(document) + b"\n"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the answer, names in lower case."""
        headers = {"content-type": "application/json", "content-length": str(len(self.body))}
        if self.code == 503:  # noqa: PLR2004  # Service Unavailable
            headers["retry-after"] = str(RETRY_AFTER)
        return headers


ACCEPTED = Answer(200)


def refusal(error: Exception) -> Answer:
    """Return the answer to a delivery that was refused for this reason."""
    reason = _REASONS[type(error)]
    errors = error.errors if isinstance(error, InvalidEvent) else ()
    lingering = isinstance(error, BodyTooLarge | BodyTooSlow | EncodedBody | UnknownSender)
    return Answer(REFUSALS[reason].code, reason, str(error), errors, lingering)
