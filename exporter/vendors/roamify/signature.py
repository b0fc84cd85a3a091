"""Roamify's signature: a header with the lowercase hex HMAC-SHA256 of the raw body."""

from __future__ import annotations

from exporter.vendors.authentication import BodySignature, hex_digest

SIGNATURE_HEADER = "X-Roamify-Signature"

AUTHENTICATION = BodySignature(SIGNATURE_HEADER, hex_digest)
"""Upper-case hex is accepted too."""


def sign(body: bytes, secret: bytes) -> str:
    """Return the signature of a delivery."""
    return AUTHENTICATION.prove(body, secret).headers[SIGNATURE_HEADER]
