"""Roamify's signature: HMAC-SHA256 of the raw body."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE_HEADER = "X-Roamify-Signature"

_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def sign(body: bytes, secret: bytes) -> str:
    """Return the signature of a delivery: lowercase hex HMAC-SHA256 of the raw body."""
    return hmac.digest(secret, body, "sha256").hex()


def verify(body: bytes, signature: str | None, secrets: Sequence[bytes]) -> int | None:
    """Return the index of the first secret that the body was signed with, or ``None``.

    All secrets are tried, each in constant time. Upper-case hex and surrounding blanks are
    accepted.
    """
    given = _normalized(signature or "")
    if not _SIGNATURE.fullmatch(given):
        return None
    matches = [hmac.compare_digest(sign(body, secret), given) for secret in secrets]
    return matches.index(True) if True in matches else None


def well_formed(signature: str) -> bool:
    """Return whether a header's value has the form of a signature, be it right or wrong."""
    return _SIGNATURE.fullmatch(_normalized(signature)) is not None


def _normalized(signature: str) -> str:
    return signature.strip(" \t").lower()
