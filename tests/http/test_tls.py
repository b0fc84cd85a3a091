"""TLS on both listeners: versions, client certificates, and reloading without a restart."""

from __future__ import annotations

import signal
import socket
import ssl
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from issuing import HEALTH, Pair, Secure, client_context, issue, tls_section
from running import (
    SUCCESS,
    connect,
    encoded,
    event,
    read_answer,
    request_head,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Serve

REFUSED = (httpx.TransportError, ssl.SSLError, ConnectionError)
"""The errors of a client whose certificate is not accepted."""

CLIENTS = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "clients.pem"}
RELOADED = "config_last_reload_successful"


@dataclass(frozen=True)
class Pki:
    """The certificates of a test, and who has signed them."""

    folder: Path
    authority: Pair
    """It signed the certificate of the server; clients trust it."""
    server: Pair
    clients: Pair
    """The authority that signs the certificates of clients."""

    def client(self, name: str, names: str = "DNS:client") -> ssl.SSLContext:
        """Return a client with a certificate that the authority of clients has signed."""
        own = issue(self.folder, name, by=self.clients, names=names)
        return client_context(self.authority, own)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    authority = issue(tmp_path, "authority")
    server = issue(tmp_path, "server", by=authority)
    return Pki(tmp_path, authority, server, issue(tmp_path, "clients"))


def start(serve: Serve, pki: Pki, text: str, *flags: str) -> Secure:
    (pki.folder / "web.yml").write_text(text)
    return Secure(serve, "--web.config.file=web.yml", *flags)


@contextmanager
def connection(url: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Connect to a listener with TLS."""
    with connect(url) as plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
        yield secure


def serial(server: Secure, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    with connection(server.url(), context) as secure:
        certificate = secure.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])


def test_the_internal_listener_speaks_tls_alone(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server))

    own = server.own(client_context(pki.authority))

    assert own['tls_certificate_expiry_timestamp_seconds{listener="internal"}'] == pki.server.expiry
    assert not any("tls_" in key and "internal" not in key for key in own)
    assert server.serving.post(event()).status_code == 200  # the public one has no TLS
    with connect(server.url()) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)
    assert server.get(client_context(pki.authority), "/").status_code == 200


def test_the_public_listener_speaks_tls(serve: Serve, pki: Pki) -> None:
    path = pki.folder / "webhook.yml"
    text = tls_section(pki.server) + "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    path.write_text(text)
    server = serve(f"--webhook.config.file={path}")
    body = encoded(event())

    with connection(server.public, client_context(pki.authority)) as secure:
        secure.sendall(request_head(body) + body)
        answer = read_answer(secure)
        secure.sendall(request_head(body, secret=b"wrong") + body)
        refused = read_answer(secure)
        secure.sendall(b"GET /" + b"x" * 40_000)
        broken = read_answer(secure)

    assert (answer.code, answer.body.strip()) == (200, SUCCESS)
    assert (refused.code, broken.code) == (401, 431)
    assert {each.headers["X-Frame-Options"] for each in (answer, refused, broken)} == {"deny"}
    own = server.own()
    assert own['tls_certificate_expiry_timestamp_seconds{listener="public"}'] == pki.server.expiry
    assert "X-Frame-Options" not in server.get("/metrics").headers


def test_one_listener_for_both_has_one_file(serve: Serve, pki: Pki) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (pki.folder / "web.yml").write_text(tls_section(pki.server))
    both = (f"--web.listen-address={address}", f"--webhook.listen-address={address}")
    server = serve("--web.config.file=web.yml", HEALTH, *both, ready="")
    until(lambda: len(server.logged("listening")) == 2)
    body = encoded(event())

    def delivered() -> bool:
        with connection(f"https://{address}", client_context(pki.authority)) as secure:
            secure.sendall(request_head(body) + body)
            return read_answer(secure).code == 200

    until(delivered)


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        (ssl.TLSVersion.TLSv1_2, {"min_version": "TLS13"}),
        (ssl.TLSVersion.TLSv1_3, {"max_version": "TLS12"}),
    ],
)
def test_versions_are_limited(
    version: ssl.TLSVersion, keys: dict[str, str], serve: Serve, pki: Pki
) -> None:
    server = start(serve, pki, tls_section(pki.server, **keys))
    context = client_context(pki.authority)
    assert server.get(context).status_code == 200

    context.minimum_version = context.maximum_version = version

    with pytest.raises(httpx.ConnectError):
        server.get(context)


def test_the_cipher_suite_is_one_of_those_chosen(serve: Serve, pki: Pki) -> None:
    suites = "[TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]"
    keys = {"cipher_suites": suites, "max_version": "TLS12"}
    server = start(serve, pki, tls_section(pki.server, **keys))
    context = client_context(pki.authority)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-CHACHA20-POLY1305")

    def chosen() -> str:
        with connection(server.url(), context) as secure:
            cipher = secure.cipher()
            assert cipher
            return cipher[0]

    assert chosen() == "ECDHE-ECDSA-CHACHA20-POLY1305"
    text = tls_section(pki.server, **keys, prefer_server_cipher_suites="false")
    (pki.folder / "web.yml").write_text(text)
    server.serving.send(signal.SIGHUP)
    until(lambda: server.serving.logged("reloaded"))
    assert chosen() == "ECDHE-ECDSA-AES128-SHA"
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        chosen()


def test_the_curve_is_the_one_chosen(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server, curve_preferences="[CurveP384]"))
    context = client_context(pki.authority)

    context.set_ecdh_curve("secp384r1")
    assert server.get(context).status_code == 200
    context.set_ecdh_curve("prime256v1")
    with pytest.raises(httpx.ConnectError):
        server.get(context)


def test_only_clients_with_a_verified_certificate_are_let_in(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server, **CLIENTS))
    known = pki.client("known")
    stranger = issue(pki.folder, "stranger", by=pki.authority)
    itself = issue(pki.folder, "itself")

    assert server.get(known).status_code == 200
    for own in (None, stranger, itself):
        with pytest.raises(REFUSED):
            server.get(client_context(pki.authority, own))
    health = server.serving.url("health")  # plain, for probes that have no certificate
    assert server.serving.client.get(f"{health}/-/healthy").status_code == 200


def test_a_certificate_is_verified_if_there_is_one(serve: Serve, pki: Pki) -> None:
    keys = CLIENTS | {"client_auth_type": "VerifyClientCertIfGiven"}
    server = start(serve, pki, tls_section(pki.server, **keys))
    known = pki.client("known")
    stranger = issue(pki.folder, "stranger", by=pki.authority)

    assert server.get(client_context(pki.authority)).status_code == 200
    assert server.get(known).status_code == 200
    with pytest.raises(REFUSED):
        server.get(client_context(pki.authority, stranger))


def test_a_verified_client_needs_one_of_the_allowed_names(serve: Serve, pki: Pki) -> None:
    allowed = "[prometheus, '0:0:0:0:0:0:0:1', sre@example.org, 'spiffe://example.org/prometheus']"
    server = start(serve, pki, tls_section(pki.server, **CLIENTS, client_allowed_sans=allowed))

    for names in (
        *("DNS:prometheus", "DNS:other,DNS:prometheus", "IP:::1", "email:sre@example.org"),
        "URI:spiffe://example.org/prometheus",
    ):
        assert server.get(pki.client("client", names)).status_code == 200
    for names in ("DNS:other", "DNS:sub.prometheus", "IP:127.0.0.1", "URI:prometheus:1"):
        with pytest.raises(REFUSED):
            server.get(pki.client("client", names))


@pytest.mark.parametrize("way", ["signal", "request", "change"])
def test_a_new_certificate_is_used_without_a_restart(way: str, serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server), "--web.enable-lifecycle")
    context = client_context(pki.authority)
    new = issue(pki.folder, "new", by=pki.authority, days=60)
    before, expiry = serial(server, context), new.expiry
    with connection(server.url(), context) as old:
        pki.server.replace(new)
        if way == "signal":
            server.serving.send(signal.SIGHUP)
        elif way == "request":
            with httpx.Client(verify=context, trust_env=False) as client:
                assert client.post(f"{server.url()}/-/reload").status_code == 200

        until(lambda: serial(server, context) != before)
        own = server.own(context)
        assert own['tls_certificate_expiry_timestamp_seconds{listener="internal"}'] == expiry
        old.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(old, "GET").code == 200


def test_clients_of_a_replaced_authority_are_refused(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server, **CLIENTS))
    old = pki.client("old")
    successor = issue(pki.folder, "successor")
    new = client_context(pki.authority, issue(pki.folder, "new", by=successor))
    assert server.get(old).status_code == 200
    with pytest.raises(REFUSED):
        server.get(new)

    pki.clients.replace(successor)
    server.serving.send(signal.SIGHUP)

    until(lambda: server.serving.logged("reloaded"))
    assert server.get(new).status_code == 200
    with pytest.raises(REFUSED):
        server.get(old)


def test_a_broken_pair_keeps_the_last_good_one_until_it_is_repaired(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server))
    context = client_context(pki.authority)
    before = serial(server, context)
    new = issue(pki.folder, "new", by=pki.authority)

    new.certificate.rename(pki.server.certificate)

    (failure,) = until(lambda: server.serving.logged("reload failed"))
    assert "--web.config.file" in failure["error"]
    assert "not the key of the certificate" in failure["error"]
    assert server.own(context)[RELOADED] == 0
    assert serial(server, context) == before
    new.key.rename(pki.server.key)
    until(lambda: server.own(context)[RELOADED] == 1)
    assert serial(server, context) != before
    assert len(server.serving.logged("reload failed")) == 1


def test_a_file_that_would_turn_tls_off_is_a_failed_reload(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server), "--web.enable-lifecycle")
    context = client_context(pki.authority)
    web = pki.folder / "web.yml"

    with httpx.Client(verify=context, trust_env=False) as client:
        for text in ("", "http_server_config: {", "tls_server_config: {cert_file: x}"):
            web.write_text(text)
            assert client.post(f"{server.url()}/-/reload").status_code == 500
            assert server.own(context)[RELOADED] == 0
        web.write_text(tls_section(pki.server, min_version="TLS13"))
        assert client.post(f"{server.url()}/-/reload").status_code == 200
    assert server.own(context)[RELOADED] == 1


def test_clients_that_never_finish_the_handshake_keep_nobody_out_for_good(
    serve: Serve, pki: Pki
) -> None:
    server = start(serve, pki, tls_section(pki.server), "--web.max-connections=2")
    context = client_context(pki.authority)

    silent = [connect(server.url()) for _ in range(2)]
    with connect(server.url()) as third:
        assert third.recv(1) == b""
    for each in silent:
        each.close()

    def served() -> bool:
        try:
            return server.get(context).status_code == 200
        except httpx.ConnectError:
            return False

    until(served)
    for _ in range(5):  # a failed handshake leaves nothing behind
        with connect(server.url()) as scanner:
            scanner.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with suppress(ConnectionError):
                scanner.recv(1000)
    until(served)


def test_waiting_tls_connections_are_displaced_too(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server), "--web.max-connections=2")
    context = client_context(pki.authority)

    with connection(server.url(), context) as first, connection(server.url(), context) as second:
        for each in (first, second):
            each.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(each, "GET").code == 200
        own = server.own(context)
        assert own['http_connections{listener="internal"}'] == 2
        assert own['http_connections_displaced_total{listener="internal"}'] == 1
        with pytest.raises(ConnectionError):
            read_answer(first, "GET")
        second.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(second, "GET").code == 200


def test_handshakes_that_do_not_end_give_way_and_are_counted(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server), "--web.max-connections=2")
    context = client_context(pki.authority)

    with ExitStack() as stack:
        for begun in (b"", b"\x16\x03\x01\x02\x00", b""):
            stack.enter_context(connect(server.url())).sendall(begun)
        own = server.own(context)
    assert own['http_connections{listener="internal"}'] == 2
    assert own['http_connections_displaced_total{listener="internal"}'] == 2
    assert own['http_connections_refused_total{listener="internal"}'] == 0


def test_http_2_is_not_offered(serve: Serve, pki: Pki) -> None:
    server = start(serve, pki, tls_section(pki.server))
    context = client_context(pki.authority)
    context.set_alpn_protocols(["h2", "http/1.1"])

    with connection(server.url(), context) as secure:
        assert secure.selected_alpn_protocol() == "http/1.1"
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert read_answer(secure, "GET").code in {400, 404, 405, 505}
    health = server.serving.url("health")
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
    response = server.serving.client.get(f"{health}/-/ready", headers=upgrade)
    assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
