"""The keyed hash that stands for an ICCID where the ICCID itself is not to be seen."""

from __future__ import annotations

import hmac


def iccid_hash(key: bytes, iccid: str) -> str:
    """Return the first 32 hex digits of the HMAC-SHA256 of an ICCID.

    Without the key nobody can try all ICCIDs until one fits.
    """
    return hmac.digest(key, iccid.encode(), "sha256").hex()[:32]
