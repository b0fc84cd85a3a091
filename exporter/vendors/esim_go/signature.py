"""eSIM Go's signature: a header with the HMAC-SHA256 of the raw body, keyed with the API key.

The vendor's documentation contradicts itself: the pages of the API say base64, the guide to its
webhooks says hex. The length tells them apart.
"""

from __future__ import annotations

import base64

from exporter.vendors.authentication import BodySignature, hex_digest

SIGNATURE_HEADER = "X-Signature-SHA256"

_BASE64_LENGTH = 44

_DIGEST_LENGTH = 32


def _decode(value: str) -> bytes | None:
    if len(value) != _BASE64_LENGTH:
        return hex_digest(value)
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST_LENGTH else None


def _encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


AUTHENTICATION = BodySignature(SIGNATURE_HEADER, _decode, _encode)
