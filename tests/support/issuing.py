"""Certificates made for a test by the program ``openssl``, and clients that use them."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from prerequisites import lack
from running import WAIT, Serving, samples, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conftest import Serve

HEALTH = "--web.health-listen-address=127.0.0.1:0"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """Put another pair in the place of this one, the way a careful program does."""
        other.certificate.rename(self.certificate)
        other.key.rename(self.key)

    @property
    def expiry(self) -> float:
        """When it expires, as openssl says."""
        said = openssl("x509", "-in", self.certificate, "-enddate", "-noout")
        return ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))


def openssl(*arguments: str | Path) -> str:
    """Run the program and return what it printed; without it skip the test, or fail it in CI."""
    if shutil.which("openssl") is None:
        lack("the program openssl is not installed")
    command = ["openssl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def issue(
    folder: Path,
    name: str,
    *,
    by: Pair | None = None,
    names: str = "DNS:localhost,IP:127.0.0.1",
    days: int = 30,
    key: Sequence[str] = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
) -> Pair:
    """Make a certificate, signed by itself where nobody else does it: an authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    signed: list[str | Path] = ["-CA", by.certificate, "-CAkey", by.key] if by else []
    extensions = ["-addext", f"subjectAltName={names}"] if by else []
    openssl(
        *("req", "-x509", "-noenc", *key, "-days", str(days), "-subj", f"/CN={name}"),
        *("-keyout", str(pair.key), "-out", str(pair.certificate)),
        *signed,
        *extensions,
    )
    return pair


def client_context(authority: Pair, own: Pair | None = None) -> ssl.SSLContext:
    """Return what a client trusts, and the certificate that it shows."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    # Python 3.13 asks for extensions that the openssl program does not write by itself.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if own:
        context.load_cert_chain(own.certificate, own.key)
    return context


def tls_section(pair: Pair, **more: str) -> str:
    """Return the section that serves a certificate."""
    keys = {"cert_file": pair.certificate.name, "key_file": pair.key.name} | more
    return "tls_server_config:\n" + "".join(f"  {key}: {text}\n" for key, text in keys.items())


class Secure:
    """An exporter whose internal listener speaks TLS, and what clients say to it."""

    def __init__(self, serve: Serve, *flags: str) -> None:
        """Start it and wait until it is ready, as its health listener says."""
        self.serving: Serving = serve(HEALTH, *flags, ready="")
        until(lambda: len(self.serving.logged("listening")) == 3)
        health = self.serving.url("health")
        until(lambda: self.serving.client.get(f"{health}/-/ready").status_code == 200)

    def url(self, listener: str = "internal") -> str:
        """Return where a listener listens."""
        return self.serving.url(listener).replace("http:", "https:")

    def get(
        self,
        context: ssl.SSLContext,
        path: str = "/metrics?collect[]=exporter",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Ask the internal listener on a connection of its own."""
        with httpx.Client(verify=context, timeout=WAIT, trust_env=False) as client:
            return client.get(self.url() + path, headers=headers)

    def own(self, context: ssl.SSLContext) -> dict[str, float]:
        """Return the exporter's metrics about itself, without their prefix."""
        text = self.get(context).text
        return {k.removeprefix("esim_exporter_"): v for k, v in samples(text).items()}
