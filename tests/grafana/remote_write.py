"""Writes samples to a running Prometheus at once, by its remote write protocol 1.0.

Prometheus needs ``--web.enable-remote-write-receiver``, and for samples of the past
``out_of_order_time_window``. The body is protobuf, compressed by snappy. Snappy allows to write
everything as literals, so no compressor is needed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import httpx

Sample = tuple["Mapping[str, str]", float, float]
"""Labels with ``__name__``, value, and unix seconds."""


def write(client: httpx.Client, samples: Iterable[Sample]) -> None:
    """Write samples of different series. Afterwards, queries see them."""
    body = b"".join(_field(1, _series(*each)) for each in samples)
    answer = client.post(
        "/api/v1/write",
        content=_snappy(body),
        headers={
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    assert answer.is_success, answer.text


def _series(labels: Mapping[str, str], value: float, at: float) -> bytes:
    pairs = (_field(1, name.encode()) + _field(2, text.encode()) for name, text in labels.items())
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(int(at * 1000))
    # Prometheus expects names in order.
    return b"".join(_field(1, pair) for pair in sorted(pairs)) + _field(2, sample)


def _field(number: int, content: bytes) -> bytes:
    """Return a field of variable length."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    text = bytearray()
    while number > 127:
        text.append(number & 127 | 128)
        number >>= 7
    return bytes([*text, number])


def _snappy(content: bytes) -> bytes:
    literal = bytes([63 << 2]) + struct.pack("<I", len(content) - 1)
    return _varint(len(content)) + literal + content
