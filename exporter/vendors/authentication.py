"""How vendors prove that a delivery comes from them: by a signature of the body, or by a token.

All functions are pure, and compare in constant time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Received(NamedTuple):
    """What arrived at the endpoint of a vendor, as far as it can prove who sent it."""

    headers: Mapping[bytes, bytes]
    """Names are in lower case."""
    body: bytes
    """The raw body."""
    time: float
    """Of the arrival, unix seconds."""
    token: str | None = None
    """The part of the path behind the vendor's name; ``None`` if there is none."""


class Proof(NamedTuple):
    """What a delivery needs so that it is accepted."""

    headers: Mapping[str, str]
    token: str = ""
    """The last part of the path; empty if the path ends with the vendor's name."""


class Presented(Enum):
    """What a delivery that no secret fits has in place of a proof."""

    NOTHING = "nothing"
    WELL_FORMED = "well-formed"
    """It has the form of a proof, so the vendor's secret may have changed."""
    ILL_FORMED = "ill-formed"


class Authentication(Protocol):
    """One way to authenticate deliveries."""

    @property
    def token_in_path(self) -> bool:
        """Return whether the last part of the path is the proof."""

    @property
    def failure(self) -> str:
        """Return what a delivery without a right proof is told."""

    def verify(self, received: Received, secrets: Sequence[bytes]) -> int | None:
        """Return the index of the first secret that fits, or ``None``. All secrets are tried."""

    def presented(self, received: Received) -> Presented:
        """Return what a delivery that no secret fits has in place of a proof."""

    def prove(self, body: bytes, secret: bytes) -> Proof:
        """Return what the vendor would send along. Only the simulator and tests prove."""


@dataclass(frozen=True, slots=True)
class BodySignature:
    """A header with the HMAC-SHA256 of the raw body."""

    header: str
    decode: Callable[[str], bytes | None]
    """Takes a value of the header without surrounding blanks, and returns the digest;
    ``None`` if it does not have the form of one."""
    encode: Callable[[bytes], str] = bytes.hex
    """Takes a digest and returns the value of the header."""
    _key: bytes = field(init=False, repr=False)
    """The name of the header as it is received."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", self.header.lower().encode())

    @property
    def token_in_path(self) -> bool:
        """Return that the path holds no proof."""
        return False

    @property
    def failure(self) -> str:
        """Return that the header does not prove anything."""
        return f"{self.header} is missing or does not fit the body"

    def verify(self, received: Received, secrets: Sequence[bytes]) -> int | None:
        """Return the index of the first secret that the body was signed with, or ``None``."""
        given = self.decode(self._value(received))
        if given is None:
            return None
        body = received.body
        matches = [hmac.compare_digest(_digest(body, secret), given) for secret in secrets]
        return matches.index(True) if True in matches else None

    def presented(self, received: Received) -> Presented:
        """Return whether the header is there, and whether it has the form of a signature."""
        value = self._value(received)
        if not value:
            return Presented.NOTHING
        return Presented.ILL_FORMED if self.decode(value) is None else Presented.WELL_FORMED

    def prove(self, body: bytes, secret: bytes) -> Proof:
        """Return the header with the signature."""
        return Proof({self.header: self.encode(_digest(body, secret))})

    def _value(self, received: Received) -> str:
        return received.headers.get(self._key, b"").decode("latin-1").strip(" \t")


@dataclass(frozen=True, slots=True)
class PathToken:
    """The last part of the path is one of the secrets, for a vendor that signs nothing."""

    @property
    def token_in_path(self) -> bool:
        """Return that the path holds the proof."""
        return True

    @property
    def failure(self) -> str:
        """Return that the path does not prove anything."""
        return "the path does not end with a token that is known"

    def verify(self, received: Received, secrets: Sequence[bytes]) -> int | None:
        """Return the index of the secret that the path ends with, or ``None``."""
        given = (received.token or "").encode()
        # Digests have the same length, so that a comparison does not tell the length of a secret.
        digest = _digest(given, b"")
        matches = [hmac.compare_digest(_digest(secret, b""), digest) for secret in secrets]
        return matches.index(True) if given and True in matches else None

    def presented(self, received: Received) -> Presented:
        """Return whether there is a token."""
        return Presented.WELL_FORMED if received.token else Presented.NOTHING

    def prove(self, body: bytes, secret: bytes) -> Proof:  # noqa: ARG002  # it signs nothing
        """Return the token."""
        return Proof({}, secret.decode())


def _digest(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, body, "sha256")


def hex_digest(value: str) -> bytes | None:
    """Return a digest of 32 bytes that is written in hex, in any case; else ``None``."""
    if len(value) != 64 or not value.isascii() or not value.isalnum():  # noqa: PLR2004  # 32 bytes
        return None
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None
