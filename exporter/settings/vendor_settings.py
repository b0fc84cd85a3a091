"""The settings of each vendor: a group of flags that is made from the vendor's facts.

Group and names come from the registry: ``--<vendor>.secret-file``. Every vendor has secrets; the
other settings are there only for a vendor whose facts ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, create_model

from exporter.settings import ENVIRONMENT_PREFIX
from exporter.settings.field_types import Networks, OptionalPath, UnitBase, written
from exporter.settings.options import Kind, Mark, SettingsGroup
from exporter.vendors.registry import FIRST, VENDORS
from exporter.vendors.vendor import DEFAULT_UNIT_BASE

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from exporter.vendors.vendor import Vendor

HASHED = "hash"
"""Value of ``esim-id``: the ICCID, hashed with the key of ``--metrics.iccid-hash-key-file``."""

RAW = "iccid"
"""Value of ``esim-id``: the ICCID itself."""


class VendorSettings(SettingsGroup):
    """The settings of one vendor. Those that it does not have keep their defaults."""

    secret_file: Annotated[OptionalPath, Mark.RELOADABLE] = None
    secret: Annotated[SecretStr, Kind("text"), Mark.RELOADABLE, Mark.ENVIRONMENT_ONLY] = SecretStr(
        ""
    )

    @property
    def has_secret(self) -> bool:
        """Return whether a file or the environment gives secrets. The file is not read."""
        return self.secret_file is not None or bool(self.secret.get_secret_value().strip())

    @property
    def accepts_unsigned(self) -> bool:
        """Return whether deliveries are accepted from anyone."""
        return bool(getattr(self, "allow_unsigned", False))

    @property
    def bytes_in_kb(self) -> int:
        """Return the bytes in the vendor's kB."""
        return int(getattr(self, "unit_base", DEFAULT_UNIT_BASE))

    @property
    def hashes_iccids(self) -> bool:
        """Return whether eSIMs are named by the hash of their ICCID."""
        return getattr(self, "esim_id", None) == HASHED

    @property
    def allowed_senders(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks that may send deliveries; none for any."""
        return getattr(self, "sender_addresses", ())


def group_name(vendor: Vendor) -> str:
    """Return the attribute of the settings that holds a vendor's group."""
    return vendor.name.replace("-", "_")


def vendor_groups() -> dict[str, Any]:
    """Return the fields of the settings that hold the groups of all vendors."""
    groups = {}
    for vendor in VENDORS:
        group = _group(vendor)
        groups[group_name(vendor)] = (group, Field(default_factory=group))
    return groups


def _group(vendor: Vendor) -> type[VendorSettings]:
    fields = _secrets(vendor)
    if vendor.authentication.token_in_path:
        fields |= _sender_addresses(vendor)
    else:
        fields |= _allow_unsigned(vendor)
    if vendor.names_units:
        fields |= _UNIT_BASE
    if vendor.named_by_iccid:
        fields |= _esim_id(vendor)
    title = "".join(word.capitalize() for word in vendor.name.split("-"))
    made: type[VendorSettings] = create_model(
        f"{title}Settings", __base__=VendorSettings, __doc__=f"{vendor.title}.", **fields
    )
    return made


def _secrets(vendor: Vendor) -> dict[str, Any]:
    what = f"secrets that {vendor.title} signs with"
    if vendor.authentication.token_in_path:
        what = f"tokens, one of which ends the path that {vendor.title} sends to"
    file_help = (
        f"File with the {what}, one per line. It turns {vendor.title} on.",
        vendor.secret_note,
        "Blank lines and lines that start with # are ignored.",
        "The exporter reads it again when it changes.",
        "The same as --webhook.secret-file." if vendor is FIRST else "",
    )
    more = f"The {what}, one per line, in addition to those of --{vendor.name}.secret-file."
    file, secret = (VendorSettings.model_fields[each] for each in ("secret_file", "secret"))
    return {
        "secret_file": (
            file.rebuild_annotation(),
            Field(default=None, description=" ".join(filter(None, file_help))),
        ),
        "secret": (
            secret.rebuild_annotation(),
            Field(default=SecretStr(""), description=more),
        ),
    }


def _allow_unsigned(vendor: Vendor) -> dict[str, Any]:
    help_ = f"Accept deliveries of {vendor.title} from anyone, without signatures. For tests only."
    return {"allow_unsigned": (bool, Field(default=False, description=help_))}


def _sender_addresses(vendor: Vendor) -> dict[str, Any]:
    help_ = (
        f"IP addresses and networks from which {vendor.title} may send, separated by commas. "
        "Default: any. Behind a proxy, set --webhook.trusted-proxies too."
    )
    field = Field(default=written(""), description=help_)
    return {"sender_addresses": (Annotated[Networks, Mark.RELOADABLE], field)}


def _esim_id(vendor: Vendor) -> dict[str, Any]:
    help_ = (
        f"What the label esim_id holds, as {vendor.title} names eSIMs by their ICCID alone. "
        f"{HASHED}: the ICCID, hashed with the key of --metrics.iccid-hash-key-file. {RAW}: the "
        "ICCID, which everybody who sees the metrics then sees."
    )
    return {"esim_id": (Literal["hash", "iccid"], Field(default=HASHED, description=help_))}


_UNIT_BASE: dict[str, Any] = {
    "unit_base": (
        UnitBase,
        Field(
            default=DEFAULT_UNIT_BASE,
            description="Bytes in the vendor's KB. Its MB is this number squared, its GB cubed.",
        ),
    )
}


def secret_variable(vendor: Vendor) -> str:
    """Return the environment variable that may hold a vendor's secrets."""
    return f"{ENVIRONMENT_PREFIX}{group_name(vendor).upper()}_SECRET"
