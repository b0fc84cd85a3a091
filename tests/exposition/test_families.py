"""The families are those of the documented tables, which are copied here word by word."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from generated_events import START
from running_fleet import RunningFleet

from exporter.exposition.exposition import Group
from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    Family,
    InfoLabels,
    MetricType,
    attention_families,
    esim_families,
)
from exporter.model.events import PartnerEvent, Snapshot, Status, UsageEvent
from exporter.model.records import Esim

ESIMS = """
| `esim_data_allowed_bytes`, `esim_data_remaining_bytes` | gauge | vendor, esim_id, package_id |
| `esim_data_consumed_bytes_total` | counter | " |
| `esim_data_unlimited` | gauge 0/1 | " |
| `esim_sms_allowed`, `esim_sms_remaining` | gauge | " |
| `esim_sms_consumed_total` | counter | " |
| `esim_voice_allowed_seconds`, `esim_voice_remaining_seconds` | gauge | " |
| `esim_voice_consumed_seconds_total` | counter | " |
| `esim_location_data_used_bytes` | gauge | + location |
| `esim_package_start_timestamp_seconds`, `esim_package_end_timestamp_seconds` | gauge | " |
| `esim_last_event_timestamp_seconds` | gauge | " |
| `esim_status` | gauge 1 | vendor, esim_id, status |
| `esim_info` | gauge 1 | vendor, esim_id, reference_id |
"""

FLEET = """
| `esim_package_info` | gauge 1 | vendor, package_id, package_name |
| `esim_fleet_esims` | gauge | vendor, status |
| `esim_fleet_esims_stale` | gauge | vendor |
| `esim_fleet_esims_out_of_data` | gauge | vendor, package_id |
| `esim_fleet_allowances` | gauge | vendor, package_id, status |
| `esim_fleet_data_allowed_bytes`, `esim_fleet_data_remaining_bytes` | gauge | vendor, package_id |
| `esim_fleet_data_consumed_bytes_total` | counter | vendor, package_id |
| `esim_fleet_allowances_over_threshold` | gauge | vendor, package_id, resource, threshold |
| `esim_fleet_location_data_consumed_bytes_total` | counter | vendor, location |
| `esim_partner_balance`, `esim_partner_balance_threshold` | gauge | vendor, currency |
| `esim_partner_last_event_timestamp_seconds` | gauge | vendor, event_type |
"""

ATTENTION = """
| `esim_attention_used_ratio` | gauge | vendor, esim_id, package_id, resource |
| `esim_attention_since_timestamp_seconds` | gauge | vendor, esim_id, package_id, resource |
| `esim_attention_out_of_data` | gauge 1 | " |
| `esim_attention_out_of_data_since_timestamp_seconds` | gauge | " |
| `esim_attention_last_event_timestamp_seconds` | gauge | vendor, esim_id |
| `esim_attention_info` | gauge 1 | vendor, esim_id, reference_id |
"""

ALLOWANCE = ["vendor", "esim_id", "package_id"]


class Documented(NamedTuple):
    type: str
    labels: list[str]


def documented(table: str) -> dict[str, Documented]:
    families = {}
    for line in table.strip().splitlines():
        names, kind, labels = (cell.strip() for cell in line.strip("|").split("|"))
        match labels.split(", "):
            case ['"']:
                listed = ALLOWANCE
            case [one] if one.startswith("+ "):
                listed = [*ALLOWANCE, one.removeprefix("+ ")]
            case listed:
                pass
        for name in re.findall(r"`(\w+)`", names):
            families[name] = Documented(kind.split()[0], listed)
    return families


def defined(families: tuple[Family, ...]) -> dict[str, Documented]:
    return {family.name: Documented(family.type, list(family.labels)) for family in families}


def everything() -> RunningFleet:
    """Return a fleet that has series of every family."""
    running = RunningFleet()
    snapshot = Snapshot(
        *(False, 100, 0, 10, 9, 60, 30),
        start=START,
        end=START + 60,
        locations=(("France", 7),),
    )
    usage = UsageEvent("roamify", START, "e", "p", snapshot, Status.ACTIVATED, "r", "89", "P")
    unlimited = usage._replace(esim_id="f", snapshot=Snapshot(data_unlimited=True))
    running.take(usage, unlimited, PartnerEvent("roamify", "top_up", START, "EUR", 9.5, 5.0))
    return running


@pytest.mark.parametrize(
    ("table", "families"),
    [
        (ATTENTION, attention_families(InfoLabels())),
        (ESIMS, esim_families(InfoLabels())),
        (FLEET, (*PACKAGE_FAMILIES, *VENDOR_FAMILIES)),
    ],
    ids=["attention", "esims", "fleet"],
)
def test_families_are_those_documented(table: str, families: tuple[Family, ...]) -> None:
    assert defined(families) == documented(table)


@pytest.mark.parametrize(
    ("table", "group"),
    [(ATTENTION, Group.ATTENTION), (ESIMS, Group.ESIMS), (FLEET, Group.FLEET)],
    ids=["attention", "esims", "fleet"],
)
def test_every_documented_family_is_shown_with_its_type_and_labels(
    table: str, group: Group
) -> None:
    text = everything().text(group)
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    helps = re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE)
    labels = {
        name: re.findall(r'(\w+)="', rest)
        for name, rest in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.MULTILINE)
    }
    expected = documented(table)
    assert types == {name: family.type for name, family in expected.items()}
    assert [name for name, _ in helps] == list(types) == sorted(types)
    assert labels == {name: family.labels for name, family in expected.items()}


@pytest.mark.parametrize(
    "families",
    [
        attention_families(InfoLabels()),
        esim_families(InfoLabels()),
        PACKAGE_FAMILIES,
        VENDOR_FAMILIES,
    ],
)
def test_families_are_sorted_and_say_what_they_are(families: tuple[Family, ...]) -> None:
    names = [family.name for family in families]
    assert names == sorted(names)
    for family in families:
        assert family.help.strip() == family.help
        assert not set(family.help) & {"\\", "\n", '"'}
        assert family.name.endswith("_total") == (family.type is MetricType.COUNTER)
        assert (family.value is None) != (family.samples is None)


def esim(**values: str) -> Esim:
    return Esim("roamify", "e", received=0, admitted=1)._replace(**values)  # type: ignore[arg-type]  # names only


def info(identity: InfoLabels, of: Esim) -> list[str]:
    ((values, value),) = identity.samples(of)
    assert value == 1
    return list(values)


def test_an_iccid_is_shown_only_where_asked_for() -> None:
    of = esim(reference_id="r", iccid="8901")
    assert info(InfoLabels(), of) == ["r"]
    assert info(InfoLabels(("iccid", "reference_id")), of) == ["8901", "r"]
    assert info(InfoLabels(()), of) == []


def test_a_hash_of_the_iccid_depends_on_the_key_and_hides_it() -> None:
    of = esim(iccid="8901")
    (one,), (same,), (other,) = (
        info(InfoLabels(("iccid_hash",), key), of) for key in (b"k", b"k", b"l")
    )
    assert one == same != other
    assert re.fullmatch("[0-9a-f]{32}", one)


def test_an_esim_without_iccid_has_no_hash_of_one() -> None:
    assert info(InfoLabels(("iccid_hash", "iccid"), b"k"), esim()) == ["", ""]


def test_a_gauge_is_absent_where_the_amount_is() -> None:
    text = everything().text(Group.ESIMS)
    assert 'esim_data_allowed_bytes{vendor="roamify",esim_id="f"' not in text
    assert 'esim_data_unlimited{vendor="roamify",esim_id="f",package_id="p"} 1\n' in text
    assert 'esim_sms_allowed{vendor="roamify",esim_id="f"' not in text
