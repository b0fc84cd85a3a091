"""A simulated fleet of all vendors, and what an exporter needs to take their deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from running import SECRET

from exporter.settings.vendor_settings import RAW, secret_variable
from exporter.simulate.deliveries import Fault
from exporter.simulate.sender import Credential
from exporter.vendors.registry import FIRST, SIMULATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    from running import Serving

    from exporter.simulate.deliveries import SimulatedDelivery
    from exporter.vendors.vendor import Vendor

SECRETS: Final = {
    vendor.name: SECRET if vendor is FIRST else f"secret-of-{vendor.name}".encode()
    for vendor in SIMULATED
}
"""By vendor. That of the first vendor is the one that all tests share."""

CREDENTIALS: Final = tuple(Credential(vendor, SECRETS[vendor.name]) for vendor in SIMULATED)


def environ(vendors: Sequence[Vendor] = SIMULATED) -> dict[str, str]:
    """Return the environment variables that turn vendors on."""
    return {secret_variable(vendor): SECRETS[vendor.name].decode() for vendor in vendors}


def flags(vendors: Sequence[Vendor] = SIMULATED) -> list[str]:
    """Return the flags that vendors need besides. Simulated ICCIDs may be seen."""
    return [f"--{vendor.name}.esim-id={RAW}" for vendor in vendors if vendor.named_by_iccid]


def addressed(delivery: SimulatedDelivery, *, wrong: bool = False) -> tuple[str, dict[str, str]]:
    """Return path and headers with which the vendor posts; with a ``wrong`` secret if told so."""
    wrong = wrong or delivery.fault is Fault.BAD_SIGNATURE
    secret = b"wrong" if wrong else SECRETS[delivery.vendor.name]
    proof = delivery.vendor.authentication.prove(delivery.body, secret)
    path = delivery.vendor.webhook_path + (f"/{proof.token}" if proof.token else "")
    return path, dict(proof.headers)


def deliver(server: Serving, delivery: SimulatedDelivery) -> httpx.Response:
    """Post a delivery to an exporter that runs with :func:`flags` and :func:`environ`."""
    path, headers = addressed(delivery)
    return server.client.post(server.public + path, content=delivery.body, headers=headers)
