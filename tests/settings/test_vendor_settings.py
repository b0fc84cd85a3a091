"""The settings of each vendor, made from its facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.errors import SettingsError
from exporter.settings.loading import OPTIONS, load, read_secrets, secret_files
from exporter.settings.vendor_settings import group_name
from exporter.vendors.registry import FIRST, VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.vendors.vendor import Vendor

KEYS = {option.key for option in OPTIONS}
for_each_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)


def enough(vendor: Vendor, folder: Path) -> list[str]:
    """Return the flags with which a vendor is on."""
    secrets = folder / "secrets"
    secrets.write_text("one-secret\nanother\n")
    key = folder / "key"
    key.write_text("key\n")
    return [f"--{vendor.name}.secret-file={secrets}", f"--metrics.iccid-hash-key-file={key}"]


@for_each_vendor
def test_a_vendor_is_on_when_it_has_a_secret(vendor: Vendor, tmp_path: Path) -> None:
    settings = load(enough(vendor, tmp_path), {})

    assert settings.vendors_on == (vendor,)
    assert read_secrets(settings, vendor) == (b"one-secret", b"another")
    assert secret_files(settings) == [tmp_path / "secrets"]


@for_each_vendor
def test_the_environment_may_give_the_secret(vendor: Vendor, tmp_path: Path) -> None:
    variable = f"ESIM_EXPORTER_{group_name(vendor).upper()}_SECRET"
    settings = load(enough(vendor, tmp_path)[1:], {variable: " from-environment \n"})

    assert settings.vendors_on == (vendor,)
    assert read_secrets(settings, vendor) == (b"from-environment",)


@for_each_vendor
def test_only_a_vendor_that_signs_may_be_unsigned(vendor: Vendor, tmp_path: Path) -> None:
    signs = not vendor.authentication.token_in_path
    assert (f"{vendor.name}.allow-unsigned" in KEYS) is signs
    assert (f"{vendor.name}.sender-addresses" in KEYS) is not signs
    if signs:
        _, key = enough(vendor, tmp_path)
        settings = load([f"--{vendor.name}.allow-unsigned", key], {})
        assert settings.vendors_on == (vendor,)
        assert settings.allows_unsigned(vendor)
        with pytest.raises(SettingsError, match=r"allow-unsigned: a webhook secret is set too"):
            load([f"--{vendor.name}.allow-unsigned", *enough(vendor, tmp_path)], {})


def test_the_older_settings_of_the_first_vendor_go_on(tmp_path: Path) -> None:
    older, newer = tmp_path / "older", tmp_path / "newer"
    older.write_text("a\nb\n")
    newer.write_text("b\nc\n")
    settings = load(
        [f"--webhook.secret-file={older}", f"--{FIRST.name}.secret-file={newer}"],
        {"ESIM_EXPORTER_WEBHOOK_SECRET": "d", f"ESIM_EXPORTER_{FIRST.name.upper()}_SECRET": "e"},
    )

    assert read_secrets(settings, FIRST) == (b"a", b"b", b"c", b"d", b"e")
    assert secret_files(settings) == [older, newer]
    assert load(["--webhook.allow-unsigned"], {}).allows_unsigned(FIRST)


@for_each_vendor
def test_iccids_are_hashed_unless_they_are_asked_for(vendor: Vendor, tmp_path: Path) -> None:
    on, key = enough(vendor, tmp_path)
    if not vendor.named_by_iccid:
        assert not load([on], {}).of(vendor).hashes_iccids
        return
    with pytest.raises(SettingsError, match=r"set --metrics\.iccid-hash-key-file .* or show it"):
        load([on], {})
    assert load([on, key], {}).of(vendor).hashes_iccids
    assert not load([on, f"--{vendor.name}.esim-id=iccid"], {}).of(vendor).hashes_iccids


@for_each_vendor
@pytest.mark.parametrize("token", ["a/b", "a b", "ä", "a?b", "a%62", "a#b"])
def test_a_token_must_be_able_to_end_a_path(vendor: Vendor, token: str, tmp_path: Path) -> None:
    on, key = enough(vendor, tmp_path)
    (tmp_path / "secrets").write_text(f"good\n{token}\n")
    settings = load([on, key], {})
    if not vendor.authentication.token_in_path:
        assert len(read_secrets(settings, vendor)) == 2
        return
    with pytest.raises(SettingsError, match="a token is part of a path") as caught:
        read_secrets(settings, vendor)
    assert token not in str(caught.value)


def test_addresses_and_networks_are_read(tmp_path: Path) -> None:
    flags = enough(FIRST, tmp_path)
    settings = load([*flags, "--webhook.trusted-proxies=192.0.2.7, 2001:db8::/32,"], {})
    assert list(map(str, settings.webhook.trusted_proxies)) == ["192.0.2.7/32", "2001:db8::/32"]
    for wrong in ("here", "192.0.2.7/24", "1.2.3"):
        with pytest.raises(SettingsError, match="not an IP address or network"):
            load([*flags, f"--webhook.trusted-proxies={wrong}"], {})
