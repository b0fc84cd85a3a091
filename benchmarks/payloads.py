"""The synthetic fleet of the benchmark: its webhook bodies, and the series that result.

Every eSIM has one limited package with data, SMS and voice, and one location: the most series
that an eSIM with one package and one location can have. Amounts depend only on the number of the
eSIM and the step of the event. They rise with each step, so every event changes something. They
are exact in the vendor's units and in base units.
"""

from __future__ import annotations

import functools
import hmac
import uuid
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

VENDOR: Final = "roamify"
SIGNATURE_HEADER: Final = "X-Roamify-Signature"
SECRET: Final = b"benchmark"
DAY: Final = 86_400
MIB: Final = 1_048_576


class Package(NamedTuple):
    """A package that eSIMs have. Its amounts are allowed again with each top-up."""

    package_id: str
    name: str
    location: str
    data: int
    """MB of 1 048 576 bytes."""
    sms: int
    voice: int
    """Minutes."""


PACKAGES: Final = (
    Package(
        "esim-united-states-30days-20gb-all", "20 GB - 30 Days", "United States", 20480, 99, 500
    ),
    Package("esim-aland-islands-7days-1gb-all", "1 GB - 7 Days", "Åland Islands", 1024, 20, 60),
    Package("esim-turkiye-15days-5gb-all", "5 GB - 15 Days", "Türkiye", 5120, 50, 100),
    Package("esim-france-7days-3gb-all", "3 GB - 7 Days", "France", 3072, 30, 60),
    Package("esim-thailand-10days-15gb-all", "15 GB - 10 Days", "Thailand", 15360, 100, 100),
)

SERIES: Final = 16
"""Series of each eSIM in the group ``esims``."""


class Names(NamedTuple):
    """The identifiers of an eSIM."""

    esim_id: str
    iccid: str
    reference_id: str


class Use(NamedTuple):
    """The amounts of one event, in the vendor's units. When all is used, a top-up follows."""

    data_allowed: int
    data_used: float
    sms_allowed: int
    sms_used: int
    voice_allowed: int
    voice_used: int


def names(number: int) -> Names:
    """Return the identifiers of an eSIM. Their order does not follow the numbers."""
    digest = blake2b(number.to_bytes(8), digest_size=16).digest()
    digits = int.from_bytes(digest)
    esim_id = str(uuid.UUID(bytes=digest, version=4))
    return Names(esim_id, f"89{digits % 10**17:017d}", f"ref_{digits % 10**10:010d}")


def package(number: int) -> Package:
    """Return the package of an eSIM."""
    return PACKAGES[number % len(PACKAGES)]


def use(number: int, step: int) -> Use:
    """Return what an eSIM has used at a step."""
    bought = package(number)
    data, sms, voice = number % 89 + step * 0.25, step // 100, step // 20
    return Use(
        data_allowed=_topped_up(bought.data, data),
        data_used=data,
        sms_allowed=_topped_up(bought.sms, sms),
        sms_used=sms,
        voice_allowed=_topped_up(bought.voice, voice),
        voice_used=voice,
    )


def _topped_up(bought: int, used: float) -> int:
    return bought * (1 + int(used) // bought)


def usage_body(number: int, step: int, base: int) -> bytes:
    """Return the usage event of an eSIM ``step`` seconds after ``base`` (unix seconds)."""
    esim_id, iccid, reference_id = names(number)
    package_id, name, location, *_ = package(number)
    used, time = use(number, step), base + step
    half = used.data_used / 2
    return (
        '{"event_category":"esim","event_type":"usage","data":{'
        f'"timestamp":{time},"iccid":"{iccid}","esim_id":"{esim_id}",'
        f'"reference_id":"{reference_id}","start":{base},"end":{base + 30 * DAY},'
        f'"status":"ACTIVATED","package_id":"{package_id}","package_name":"{name}",'
        '"data_units":"MB","voice_units":"minutes","sms_units":"sms",'
        f'"usage_data":{{"isUnlimited":false,"allowed_data":{used.data_allowed},'
        f'"remaining_data":{used.data_allowed - used.data_used},'
        f'"allowed_sms":{used.sms_allowed},"remaining_sms":{used.sms_allowed - used.sms_used},'
        f'"allowed_voice":{used.voice_allowed},'
        f'"remaining_voice":{used.voice_allowed - used.voice_used}}},"usage_list":['
        f'{{"date":"{_date(time // DAY)}","data_used":{half},"location":"{location}"}},'
        f'{{"date":"{_date(time // DAY + 1)}","data_used":{half},"location":"{location}"}}]}}}}'
    ).encode()


@functools.lru_cache(maxsize=128)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")


def series(number: int, step: int, base: int) -> list[tuple[str, dict[str, str], int]]:
    """Return name, labels and value of every series after this one event."""
    esim = {"vendor": VENDOR, "esim_id": names(number).esim_id}
    bought, used = package(number), use(number, step)
    allowance = {**esim, "package_id": bought.package_id}
    data = int(used.data_used * MIB)
    amounts = {
        "esim_data_allowed_bytes": used.data_allowed * MIB,
        "esim_data_remaining_bytes": used.data_allowed * MIB - data,
        "esim_data_consumed_bytes_total": data,
        "esim_data_unlimited": 0,
        "esim_sms_allowed": used.sms_allowed,
        "esim_sms_remaining": used.sms_allowed - used.sms_used,
        "esim_sms_consumed_total": used.sms_used,
        "esim_voice_allowed_seconds": used.voice_allowed * 60,
        "esim_voice_remaining_seconds": (used.voice_allowed - used.voice_used) * 60,
        "esim_voice_consumed_seconds_total": used.voice_used * 60,
        "esim_package_start_timestamp_seconds": base,
        "esim_package_end_timestamp_seconds": base + 30 * DAY,
        "esim_last_event_timestamp_seconds": base + step,
    }
    return [
        *((name, allowance, value) for name, value in amounts.items()),
        ("esim_location_data_used_bytes", {**allowance, "location": bought.location}, data),
        ("esim_status", {**esim, "status": "ACTIVATED"}, 1),
        ("esim_info", {**esim, "reference_id": names(number).reference_id}, 1),
    ]


def push_body(number: int, step: int, base: int) -> bytes:
    """Return the same series as the body of a push. The label in its path is left out."""
    lines = []
    for name, labels, value in series(number, step, base):
        pairs = ",".join(f'{key}="{text}"' for key, text in labels.items() if key != "esim_id")
        lines.append(f"{name}{{{pairs}}} {value}\n")
    return "".join(lines).encode()


def signature(body: bytes) -> str:
    """Return the signature of a delivery."""
    return hmac.digest(SECRET, body, "sha256").hex()
