"""Reading the web configuration file: its format, and what is refused."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from platform import python_version

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from issuing import Pair, issue, openssl, tls_section
from programs import require
from running import SIGNED

from exporter.cli import main
from exporter.errors import SettingsError
from exporter.http import tls
from exporter.http.protection import ReloadableProtection
from exporter.http.tls import earliest_expiry
from exporter.http.web_config import WebConfig, read_web_config

HASH = "$2y$04$abcdefghijklmnopqrstuu5LoRbZpPgHgdTsL2Yk8GcyXh3mC0Tqm"

COMPLETE = f"""\
tls_server_config:
  cert_file: server.pem
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: clients/ca.pem
  client_allowed_sans: [prometheus.example.org, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: "1; mode=block"
    Strict-Transport-Security: max-age=600
basic_auth_users:
  alice: {HASH}
"""

NO_FILES = "tls_server_config: {cert_file: c, key_file: k, "


def read(folder: Path, text: str) -> WebConfig:
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return read_web_config(path)


def problems(folder: Path, text: str) -> list[str]:
    """Read a wrong file and return its problems, without its path."""
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    lines = str(caught.value).splitlines()
    start = f"{folder / 'web.yml'}: "
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


def refusal(folder: Path, text: str) -> str:
    """Return why a file is refused, without the name of the file."""
    (folder / "web.yml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        ReloadableProtection("--web.config.file", folder / "web.yml", allow_users=True)
    return str(caught.value).removeprefix(f"--web.config.file: {folder / 'web.yml'}: ")


def test_every_key_of_the_format_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, COMPLETE)

    section = config.tls_server_config
    assert section is not None
    assert section.files == (
        tmp_path / "server.pem",
        Path("/keys/server.key"),
        tmp_path / "clients" / "ca.pem",
    )
    assert section.client_auth_type == "RequireAndVerifyClientCert"
    assert section.client_allowed_sans == ("prometheus.example.org", "10.0.0.1")
    assert (section.min_version, section.max_version) == ("TLS12", "TLS13")
    assert section.cipher_suites == ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)
    assert not section.prefer_server_cipher_suites
    assert section.curve_preferences == ("CurveP256",)
    assert config.http_server_config.headers.encoded() == (
        (b"content-security-policy", b"default-src 'self'"),
        (b"x-frame-options", b"deny"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-xss-protection", b"1; mode=block"),
        (b"strict-transport-security", b"max-age=600"),
    )
    assert config.basic_auth_users == {"alice": HASH}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "tls_server_config:\n",
        "tls_server_config: {}\nbasic_auth_users: {}\nhttp_server_config:\n",
        "http_server_config: {headers: }\n",
        "http_server_config: {headers: {X-Frame-Options: ''}}\n",
    ],
)
def test_an_empty_file_asks_for_nothing(text: str, tmp_path: Path) -> None:
    config = read(tmp_path, text)

    assert config.tls_server_config is None
    assert config.http_server_config.headers.encoded() == ()
    assert config.basic_auth_users == {}


def test_an_empty_value_means_that_the_key_is_not_set(tmp_path: Path) -> None:
    config = read(tmp_path, NO_FILES + "client_auth_type: '', client_ca_file: }")

    assert config.tls_server_config
    assert config.tls_server_config.client_auth_type == "NoClientCert"
    assert config.tls_server_config.client_ca_file is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tls_config: {}", "tls_config: no such key"),
        ("tls_server_confg: {a: b}", "tls_server_confg: no such key, did you mean tls_server_conf"),
        (NO_FILES + "cert_fle: c}", "tls_server_config.cert_fle: no such key, did you mean cert_"),
        ("http_server_config: {http: x}", "http_server_config.http: no such key"),
        (
            "http_server_config: {headers: {x-frame-options: deny}}",
            "http_server_config.headers.x-frame-options: no such key",
        ),
        (
            "http_server_config: {headers: {X-Frame-Option: deny}}",
            "http_server_config.headers.X-Frame-Option: no such key, did you mean X-Frame-Options?",
        ),
        ("basic_auth_user: {a: b}", "basic_auth_user: no such key, did you mean basic_auth_users?"),
        ("rate_limit: {interval: 1s}", "rate_limit: not offered; use --web.max-requests"),
        (NO_FILES + "cert: x}", "tls_server_config.cert: cannot be written here, use cert_file"),
        (NO_FILES + "key: x}", "tls_server_config.key: cannot be written here, use key_file"),
        (NO_FILES + "client_ca: x}", "tls_server_config.client_ca: cannot be written here, use"),
    ],
)
def test_an_unknown_key_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, text)

    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- tls", "must be a mapping"),
        ("tls_server_config: x", "tls_server_config: must be a mapping"),
        ("basic_auth_users: [alice]", "basic_auth_users: must be a mapping"),
        ("http_server_config: {http2: true}", "http_server_config.http2: HTTP/2 is not offered"),
        ("http_server_config: {http2: maybe}", "http_server_config.http2: should be a valid bool"),
        ("tls_server_config: {key_file: k}", "tls_server_config.cert_file: not set"),
        ("tls_server_config: {cert_file: c}", "tls_server_config.key_file: not set"),
        (
            NO_FILES + "client_auth_type: RequestClientCert}",
            "tls_server_config.client_auth_type: RequestClientCert is not offered: Python's ssl",
        ),
        (
            NO_FILES + "client_auth_type: RequireAnyClientCert}",
            "tls_server_config.client_auth_type: RequireAnyClientCert is not offered: Python's ssl",
        ),
        (
            NO_FILES + "client_auth_type: Verify}",
            "tls_server_config.client_auth_type: should be 'NoClientCert'",
        ),
        (
            NO_FILES + "client_auth_type: VerifyClientCertIfGiven}",
            "tls_server_config: client_auth_type: VerifyClientCertIfGiven needs client_ca_file",
        ),
        (
            NO_FILES + "client_ca_file: x}",
            "tls_server_config: client_ca_file: has no effect without client_auth_type",
        ),
        (
            NO_FILES + "client_allowed_sans: [x]}",
            "tls_server_config: client_allowed_sans: needs RequireAndVerifyClientCert",
        ),
        (
            NO_FILES + "client_allowed_sans: []}",
            "tls_server_config.client_allowed_sans: ",
        ),
        (NO_FILES + "min_version: TLS10}", "tls_server_config.min_version: TLS10 is not offered"),
        (NO_FILES + "max_version: TLS11}", "tls_server_config.max_version: TLS11 is not offered"),
        (NO_FILES + "min_version: '1.2'}", "tls_server_config.min_version: should be 'TLS12' or"),
        (
            NO_FILES + "min_version: TLS13, max_version: TLS12}",
            "tls_server_config: min_version is above max_version",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            "http_server_config.headers.X-Frame-Options: should be",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nX: y"}}',
            "http_server_config.headers.X-XSS-Protection: ",
        ),
        ("basic_auth_users: {alice: password}", "basic_auth_users.alice: not a bcrypt hash"),
        ("basic_auth_users: {alice: }", "basic_auth_users.alice: "),
        ("basic_auth_users: {alice: ''}", "basic_auth_users.alice: not a bcrypt hash"),
        (f"basic_auth_users: {{alice: '{HASH[:-1]}'}}", "basic_auth_users.alice: not a bcrypt"),
        (
            f"basic_auth_users: {{alice: '{HASH.replace('uu5', 'z95')}'}}",
            "basic_auth_users.alice: not a bcrypt",
        ),
        (f"basic_auth_users: {{alice: '$2x{HASH[3:]}'}}", "basic_auth_users.alice: not a bcrypt"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "basic_auth_users.a:b"),
        (f"basic_auth_users: {{'': '{HASH}'}}", "basic_auth_users."),
    ],
)
def test_a_value_that_is_not_supported_is_an_error(text: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, text)

    assert found.startswith(problem)


def test_every_problem_is_reported_without_hashes_and_keys(tmp_path: Path) -> None:
    text = f"basic_auth_users: {{a: '{HASH}x', 'b:': '{HASH}'}}\n{NO_FILES}key: hidden}}\n"

    found = problems(tmp_path, text)

    assert len(found) == 3
    assert not any(word in line for line in found for word in (HASH[7:29], "hidden"))


def test_an_error_of_yaml_is_reported_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {a: b, a: c}\n")
    with pytest.raises(SettingsError, match=r"web\.yml:1:26: .*given twice"):
        read_web_config(path)
    path.unlink()
    with pytest.raises(SettingsError, match=r"web\.yml: No such file"):
        read_web_config(path)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue(tmp_path, "server")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"cipher_suites": "[TLS_RSA_WITH_RC4_128_SHA]"}, "cipher_suites: TLS_RSA_WITH_RC4_128_"),
        (
            {"cipher_suites": "[TLS_AES_128_GCM_SHA256]"},
            "cipher_suites: TLS_AES_128_GCM_SHA256: the suites of TLS 1.3 are always on",
        ),
        ({"curve_preferences": "[P256]"}, "curve_preferences: P256: no such curve; choose one of"),
        (
            {"curve_preferences": "[X25519, CurveP256]"},
            "curve_preferences: Python's ssl takes one curve",
        ),
    ],
)
def test_unknown_ciphers_and_curves_are_refused(
    more: dict[str, str], problem: str, pair: Pair, tmp_path: Path
) -> None:
    assert refusal(tmp_path, tls_section(pair, **more)).startswith(problem)


def test_what_the_machine_s_openssl_lacks_is_named(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tls._CURVES, "X25519", "no-such-curve")
    monkeypatch.setitem(tls._CIPHERS, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "NO-SUCH-CIPHER")
    curve = refusal(tmp_path, tls_section(pair, curve_preferences="[X25519]"))
    with_this = f"Python {python_version()} with {ssl.OPENSSL_VERSION}"
    assert curve.startswith(f"curve_preferences: X25519: {with_this} does not take it")
    suite = "[TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"
    cipher = refusal(tmp_path, tls_section(pair, cipher_suites=suite))
    assert cipher.startswith(f"cipher_suites: {ssl.OPENSSL_VERSION} of this machine")


def test_a_path_with_a_zero_byte_is_refused(pair: Pair, tmp_path: Path) -> None:
    refused = refusal(tmp_path, tls_section(pair, cert_file='"a\\0b"'))
    assert refused == "cert_file: embedded null byte"


def test_files_with_the_wrong_content_are_named(pair: Pair, tmp_path: Path) -> None:
    other, empty = issue(tmp_path, "other"), tmp_path / "empty"
    rsa = issue(tmp_path, "rsa", key=("-newkey", "rsa:2048"))
    locked = tmp_path / "locked.key"
    openssl("ec", "-in", pair.key, "-aes128", "-passout", "pass:x", "-out", locked)
    empty.write_text("-----BEGIN NOTHING-----")
    authority = {"client_auth_type": "VerifyClientCertIfGiven", "client_ca_file": "empty"}

    def refused(certificate: Path, key: Path, **more: str) -> str:
        return refusal(tmp_path, tls_section(Pair(certificate, key), **more))

    missing = tmp_path / "missing"
    assert refused(missing, pair.key) == f"cert_file: {missing}: No such file or directory"
    assert refused(pair.certificate, missing) == f"key_file: {missing}: No such file or directory"
    assert refused(empty, pair.key) == f"cert_file: {empty}: holds no certificate in PEM"
    for key in (other.key, rsa.key):
        mismatch = f"key_file: {key}: not the key of the certificate in {pair.certificate}"
        assert refused(pair.certificate, key) == mismatch
    for key in (empty, locked):
        assert refused(pair.certificate, key).startswith(f"key_file: {key}: not a key in")
    assert refused(pair.certificate, pair.key, **authority) == (
        f"client_ca_file: {empty}: not certificates in PEM"
    )
    empty.write_text(pair.certificate.read_text().replace("MII", "MIJ"))
    assert (
        refused(empty, pair.key) == f"cert_file: {empty}: holds a certificate that cannot be read"
    )


def test_the_file_alone_is_checked_without_serving_and_without_a_secret(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "web.yml"

    def check(text: str, *flags: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
        path.write_text(text)
        status = main(["serve", "--config.check", *flags], environ or {})
        return status, capsys.readouterr().err

    for flag in ("--web.config.file", "--webhook.config.file"):
        assert check(tls_section(pair), f"{flag}={path}") == (0, "")
        status, errors = check("nothing: x", f"{flag}={path}")
        assert status == 2
        assert errors.startswith(f"esim-exporter serve: {flag}: {path}: nothing: no such key")
    users = f"basic_auth_users: {{alice: '{HASH}'}}"
    assert check(users, f"--web.config.file={path}") == (0, "")
    status, errors = check(users, f"--webhook.config.file={path}")
    assert (status, "basic_auth_users: not possible here" in errors) == (2, True)
    one = ("--web.listen-address=:1", "--webhook.listen-address=:1")
    status, errors = check("", f"--webhook.config.file={path}", *one, environ=SIGNED)
    assert (status, "both listeners have the same address" in errors) == (2, True)


def test_a_chain_expires_with_its_first_certificate(tmp_path: Path) -> None:
    soon, late = issue(tmp_path, "soon", days=2), issue(tmp_path, "late", days=20_000)
    request, first_version = tmp_path / "request", tmp_path / "v1"
    openssl("req", "-new", "-key", soon.key, "-subj", "/CN=v1", "-out", request)
    openssl("x509", "-req", "-in", request, "-key", soon.key, "-out", first_version)
    chain = "around\n".join(each.certificate.read_text() for each in (late, soon))

    assert earliest_expiry(late.certificate.read_text()) == late.expiry > 2**32 / 2
    assert earliest_expiry(chain) == soon.expiry
    old = Pair(first_version, soon.key)
    assert earliest_expiry(first_version.read_text()) == old.expiry


@pytest.mark.usefixtures("pair")
def test_the_format_is_that_of_prometheus_itself(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    text = COMPLETE.replace("/keys/", "").replace("clients/ca.pem", "server.pem")
    lines = text.splitlines(keepends=True)
    text = "".join(line for line in lines if "allowed_sans" not in line)  # newer than Debian's
    path.write_text(text)
    assert ReloadableProtection("--web.config.file", path, allow_users=True).current.tls

    def accepted() -> bool:
        command: list[str | Path] = [require("promtool"), "check", "web-config", path]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    assert accepted()
    path.write_text(text.replace("X-Frame-Options: deny", "X-Frame-Options: never"))
    assert not accepted()


@given(st.binary(min_size=1))
@example(b"\x30\x80")
@example(b"\x30\x04\x30\x02\xa0\x00")
def test_bytes_that_are_no_certificate_have_no_expiry(content: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        earliest_expiry(ssl.DER_cert_to_PEM_cert(content))
