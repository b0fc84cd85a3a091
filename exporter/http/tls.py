"""TLS of a listener: its context, which a reload can replace, and when its certificate expires.

The first part of the module makes TLS contexts. The second part reads certificates.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from platform import python_version
from typing import TYPE_CHECKING, Any

from exporter.errors import SettingsError
from exporter.settings.small_files import read_small_file

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.http.web_config import TlsServer

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""Go's names of curves, and OpenSSL's names."""

_CIPHERS = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for go, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
    )
}
"""The suites of TLS 1.2 that Go considers secure: Go's names, and OpenSSL's names."""

_TLS13_CIPHERS = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)

_DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The suites of TLS 1.2 with forward secrecy and authenticated encryption."""

_MISMATCHES = frozenset({"KEY_TYPE_MISMATCH", "KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""OpenSSL's reasons for a key that does not belong to the certificate."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS of new connections to a listener."""

    context: ssl.SSLContext
    allowed_names: frozenset[str] | None
    """A client's certificate must have one of these subject alternative names; ``None``: any."""
    expiry: float
    """Unix seconds of the earliest expiry in the chain of certificates."""

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Return whether the certificate of a client has an allowed name.

        The handshake has verified the certificate already.
        """
        if self.allowed_names is None:
            return True
        certificate: Any = connection.getpeercert() or {}  # its declared type lacks this field
        names = (str(value) for _, value in certificate.get("subjectAltName", ()))
        return not self.allowed_names.isdisjoint(map(_normalized, names))


def open_tls(section: TlsServer) -> Tls:
    """Read the files that a configuration names. Raises ``SettingsError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version = _VERSIONS[section.min_version]
    context.maximum_version = _VERSIONS[section.max_version]
    if not section.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_ciphers(context, section.cipher_suites)
    _set_curve(context, section.curve_preferences)
    expiry = _load_certificate(context, section.cert_file, section.key_file)
    if section.client_ca_file:
        _ask_for_certificate(context, section.client_ca_file)
        if section.client_auth_type == "VerifyClientCertIfGiven":
            context.verify_mode = ssl.CERT_OPTIONAL
    allowed = section.client_allowed_sans
    return Tls(context, frozenset(map(_normalized, allowed)) if allowed else None, expiry)


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> float:
    try:
        expiry = earliest_expiry(_read_text("cert_file", certificate))
    except ValueError as error:
        raise SettingsError(f"cert_file: {certificate}: {error}") from None
    if "-----BEGIN " not in _read_text("key_file", key):
        # OpenSSL would wait for a pipe, which is empty now.
        raise SettingsError(f"key_file: {key}: not a key in PEM, or one with a passphrase")
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except OSError as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or "not a key in PEM, or one with a passphrase"
        if reason in _MISMATCHES:
            reason = f"not the key of the certificate in {certificate}"
        raise SettingsError(f"key_file: {key}: {reason}") from None
    return expiry


def _no_passphrase() -> str:
    """Keep OpenSSL from asking for a passphrase at the terminal."""
    return ""


def _ask_for_certificate(context: ssl.SSLContext, authorities: Path) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    # Go trusts every certificate of the file too, even if another authority has signed it.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    found = _certificates_in(_read_text("client_ca_file", authorities))
    try:
        context.load_verify_locations(cadata="\n".join(found))
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"client_ca_file: {authorities}: not certificates in PEM") from None


def _read_text(key: str, path: Path) -> str:
    try:
        return read_small_file(path).decode(
            "latin-1"
        )  # comments between certificates may be in any encoding
    except OSError as error:
        raise SettingsError(f"{key}: {path}: {error.strerror or error}") from None
    except ValueError as error:  # a zero byte in the path
        raise SettingsError(f"{key}: {error}") from None


def _set_ciphers(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    for name in names:
        if name in _TLS13_CIPHERS:
            raise SettingsError(
                f"cipher_suites: {name}: the suites of TLS 1.3 are always on, remove it"
            )
        if name not in _CIPHERS:
            raise SettingsError(f"cipher_suites: {name}: no such suite, or not a secure one")
    try:
        context.set_ciphers(":".join(_CIPHERS[name] for name in names) or _DEFAULT_CIPHERS)
    except ssl.SSLError:
        raise SettingsError(
            f"cipher_suites: {ssl.OPENSSL_VERSION} of this machine has none of them"
        ) from None


def _set_curve(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in _CURVES:
            raise SettingsError(
                f"curve_preferences: {name}: no such curve; choose one of {', '.join(_CURVES)}"
            )
    if len(names) > 1:
        raise SettingsError("curve_preferences: Python's ssl takes one curve: name one, or none")
    if names:
        try:
            context.set_ecdh_curve(_CURVES[names[0]])
        except (ssl.SSLError, ValueError):
            raise SettingsError(
                f"curve_preferences: {names[0]}: Python {python_version()} with "
                f"{ssl.OPENSSL_VERSION} does not take it; choose another one, or leave the line out"
            ) from None


def _normalized(name: str) -> str:
    """Return the usual form of an IP address, and any other name as it is."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


# Expiry of certificates. Python's ssl does not show the expiry of a server's own certificate.
# It has a fixed place in the DER encoding (RFC 5280), so reading it needs no X.509 library.

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_INTEGER, _UTC_TIME, _SEQUENCE, _VERSION = 0x02, 0x17, 0x30, 0xA0
"""Tags of DER. A version is the element ``[0]``."""

_LONG = 0x80
"""A first length byte above this is not the length, but the number of bytes that hold it."""

_FIRST_YEAR_OF_1900S = 50
"""Two-digit years from this one on are in the 20th century (RFC 5280, 4.1.2.5.1)."""


def earliest_expiry(pem: str) -> float:
    """Return the earliest expiry in a chain of certificates, in unix seconds.

    Raises ``ValueError`` if there is no certificate, or if one cannot be read.
    """
    found = _certificates_in(pem)
    if not found:
        raise ValueError("holds no certificate in PEM")
    try:
        return min(_expiry(ssl.PEM_cert_to_DER_cert(each)) for each in found)
    except (ValueError, IndexError):
        raise ValueError("holds a certificate that cannot be read") from None


def _certificates_in(pem: str) -> list[str]:
    """Return the certificates of a file without the text around them."""
    return _CERTIFICATE.findall(pem)


def _expiry(der: bytes) -> float:
    """Return ``notAfter``. Its place is Certificate, tbsCertificate, validity."""
    rest = _split_element(_split_element(der, _SEQUENCE)[1], _SEQUENCE)[1]
    if rest[0] == _VERSION:
        rest = _split_element(rest, _VERSION)[2]
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, signature algorithm, issuer
        rest = _split_element(rest, tag)[2]
    _, validity, _ = _split_element(rest, _SEQUENCE)
    tag, text, _ = _split_element(_split_element(validity)[2])
    return _unix_seconds(tag, text.decode("ascii"))


def _unix_seconds(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _FIRST_YEAR_OF_1900S else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _split_element(der: bytes, tag: int | None = None) -> tuple[int, bytes, bytes]:
    """Return the tag and the content of the first element, and what follows the element."""
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
