"""When the certificates of a PEM file expire, read from their DER encoding (RFC 5280).

Python's ssl shows the fields of certificate authorities and of peers only. The end of the
validity has a fixed place, so finding it takes no X.509 library.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_INTEGER, _UTC_TIME, _SEQUENCE, _VERSION = 0x02, 0x17, 0x30, 0xA0
"""Tags; a version is the element ``[0]``."""

_LONG = 0x80
"""A length byte above this says how many bytes the length takes."""

_FIRST_YEAR_OF_1900S = 50
"""Two-digit years from here on are those of the 20th century (RFC 5280, 4.1.2.5.1)."""


def certificates_in(pem: str) -> list[str]:
    """Return the certificates of a file, without what stands around them."""
    return _CERTIFICATE.findall(pem)


def earliest_expiry(pem: str) -> float:
    """Return when the first certificate of a chain expires, in unix seconds.

    Raises ``ValueError`` where there is none, or one cannot be read.
    """
    found = certificates_in(pem)
    if not found:
        raise ValueError("holds no certificate in PEM")
    try:
        return min(_expiry(ssl.PEM_cert_to_DER_cert(each)) for each in found)
    except (ValueError, IndexError):
        raise ValueError("holds a certificate that cannot be read") from None


def _expiry(der: bytes) -> float:
    """Walk to ``notAfter``: Certificate, tbsCertificate, then past all before the validity."""
    rest = _content(_content(der, _SEQUENCE)[1], _SEQUENCE)[1]
    if rest[0] == _VERSION:
        rest = _content(rest, _VERSION)[2]
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, signature algorithm, issuer
        rest = _content(rest, tag)[2]
    _, validity, _ = _content(rest, _SEQUENCE)
    tag, text, _ = _content(_content(validity)[2])
    return _time(tag, text.decode("ascii"))


def _time(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _FIRST_YEAR_OF_1900S else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _content(der: bytes, tag: int | None = None) -> tuple[int, bytes, bytes]:
    """Split the first element: its tag, its content, and what follows it."""
    if tag not in {None, der[0]}:
        raise ValueError("another element is expected here")
    length, start = der[1], 2
    if length > _LONG:
        start += length - _LONG
        length = int.from_bytes(der[2:start])
    end = start + length
    if end > len(der):
        raise ValueError("the element is cut off")
    return der[0], der[start:end], der[end:]
