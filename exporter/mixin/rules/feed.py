"""Alerts about incoming events: whether they arrive, and whether the exporter accepts them."""

from __future__ import annotations

from exporter.mixin.rules.exporter import STORAGE_UP, UP
from exporter.mixin.rules.rule_types import TERMINAL, Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import by, fleet_sum

_ACTIVATED = "vendor:esim_fleet_esims_activated:sum"
_LIVING = fleet_sum(f'sum without (status) (esim_fleet_esims{{status!~"{TERMINAL}"}})', "vendor")
_EVENTS = "vendor:esim_exporter_webhook_events:increase4h"
_TOO_OLD = "vendor:esim_exporter_webhook_events_too_old:increase4h"
_VERIFIED = "vendor:esim_exporter_webhook_signatures:increase4h"
_WRONG = "vendor:esim_exporter_webhook_signature_failures:increase4h"
_INVALID = "vendor:esim_exporter_webhook_invalid:increase4h"
_USAGE_AGE = "vendor:esim_exporter_last_usage_received_age_seconds:min"
_SECRET_CHANGED = "vendor:esim_exporter_webhook_secret_changed:latch"  # noqa: S105  # the name of a rule

_VENDOR = by("vendor")


def _newest(timestamp: str, window: str = "15m") -> str:
    """Return the newest of a timestamp that never falls, also while a process restarts."""
    return f"max {_VENDOR} (max_over_time({timestamp}[{window}]))"


_RECEIVED = "esim_exporter_last_received_timestamp_seconds"
_HEARD = _newest(_RECEIVED)
_USAGE = _newest("esim_exporter_last_usage_received_timestamp_seconds")
_INTERVAL = "esim_exporter_vendor_report_interval_seconds"
_REPORTING = _newest(_INTERVAL)
"""A vendor that reports usage at intervals. The others report at thresholds only, so hours without
an event mean nothing."""

REPORTS_AT_INTERVALS = f"and on (job, vendor) {_REPORTING}"
"""End of an expression that takes a missing report, or a report without news, for a sign."""

_AT_THRESHOLDS = f"{_EVENTS} unless on (job, vendor) {_newest(_INTERVAL, '4h')}"
"""The other vendors that have a secret, and so series of events. Both windows are equal, so that
no vendor looks like one of them while the exporter is down."""

USAGE_ARRIVED = f"unless on (job, vendor) max_over_time({_USAGE_AGE}[@feed.silent]) > @feed.silent"
"""End of an expression that means nothing during a silence, nor until all eSIMs have reported
again."""


def _could_receive(window: str) -> str:
    """Return the end of an expression that blames the vendor for what did not arrive.

    It demands that the exporter and its storage worked for at least four fifths of the window.
    Times in which Prometheus itself was down do not count.
    """
    return f"""
and on (job) avg_over_time({UP}[{window}]) > 0.8
unless on (job) avg_over_time({STORAGE_UP}[{window}]) <= 0.8
""".strip()


def _never_heard(window: str) -> str:
    """Return the end of an expression about a vendor that was set up before this window."""
    return f"""
and on (job) avg_over_time({UP}[{window}]) > 0.75
unless on (job, vendor) {_newest(_RECEIVED, window)}
""".strip()


_REJECTED = "esim_exporter_webhook_rejected_total"


def _rejected(reason: str, window: str) -> str:
    return f"sum {_VENDOR} (increase({_REJECTED}{{{reason}}}[{window}]))"


def _events(results: str) -> str:
    return f"sum {_VENDOR} (increase(esim_exporter_webhook_events_total{{{results}}}[4h]))"


_SIGNATURE = 'reason="signature"'
_UNFIT = 'reason=~"invalid|malformed"'

_SILENCE = (
    Alert(
        "EsimWebhookFeedSilent",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f"""
time() - {_HEARD} > @feed.silent
and on (job, vendor) max_over_time({_ACTIVATED}[15m]) > 0
{REPORTS_AT_INTERVALS}
{_could_receive("@feed.silent")}
""",
        "The vendor has stopped sending events.",
        "{{ $labels.vendor }} last sent an event {{ $value | humanizeDuration }} ago, though "
        "activated eSIMs report their usage regularly.",
        why="It ends as soon as an event arrives, because it mutes other alerts.",
    ),
    Alert(
        "EsimWebhookFeedSilent",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
time() - {_HEARD} > @feed.quiet
and on (job, vendor) {_LIVING} >= @feed.quiet_esims
and on (job, vendor) ({_AT_THRESHOLDS})
{_could_receive("@feed.quiet")}
""",
        "A vendor that reports at thresholds only has sent nothing for days.",
        "{{ $labels.vendor }} last sent an event {{ $value | humanizeDuration }} ago. It reports "
        "at thresholds only, but with so many eSIMs some reach one every day.",
        keep="@keep_firing_for",
        why="eSIMs leave when they have been silent for --retention.silent, so a fleet of this "
        "size sends several events a day.",
    ),
    Alert(
        "EsimWebhookUsageSilent",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f"""
{_HEARD} - ({_USAGE} or 0 * {_HEARD}) > 1h
and on (job, vendor) time() - ({_USAGE} or 0 * {_HEARD}) > @feed.silent
and on (job, vendor) min_over_time({_ACTIVATED}[@feed.silent]) > 0
and on (job, vendor) max_over_time({_ACTIVATED}[15m] offset @feed.silent) > 0
{REPORTS_AT_INTERVALS}
{_could_receive("@feed.silent")}
""",
        "The vendor sends no usage events, but others arrive.",
        "For more than @feed.silent, no usage event of {{ $labels.vendor }} changed anything, "
        "though activated eSIMs report their usage regularly. Other events have arrived since.",
        why="If no usage event ever arrived, its time counts as 0. An eSIM must have been "
        "activated all the time, because the first one of a day has not reported yet.",
    ),
    Alert(
        "EsimWebhookNeverReceived",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f"""
{_REPORTING}
and on (job, vendor) max {_VENDOR} (max_over_time({_INTERVAL}[1d] offset @feed.never))
{_never_heard("@feed.never")}
""",
        "The exporter has never received an event.",
        "{{ $labels.vendor }} has been set up for @feed.never, but no event of it with a right "
        "signature ever arrived.",
        why="It looks at series of the vendor and not at the start of a process, so a restart "
        "does not begin the hours again. A vendor that is added later gets its own hours.",
    ),
    Alert(
        "EsimWebhookNeverReceived",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
{_AT_THRESHOLDS}
and on (job, vendor) max_over_time({_EVENTS}[1d] offset @feed.never_at_thresholds)
{_never_heard("@feed.never_at_thresholds")}
""",
        "The exporter has never received an event of a vendor that reports at thresholds only.",
        "{{ $labels.vendor }} has been set up for @feed.never_at_thresholds, but no event of it "
        "ever arrived. It may have no eSIM in use, or not know the address.",
    ),
    Alert(
        "EsimWebhookFeedLow",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
{_EVENTS} < @feed.low * ({_EVENTS} offset 1d > @feed.min_events)
{REPORTS_AT_INTERVALS}
{_could_receive("4h")}
{USAGE_ARRIVED}
""",
        "The vendor sends far fewer events than yesterday.",
        '{{ $labels.vendor }} sent {{ $value | printf "%.0f" }} events within the last four '
        "hours, less than @feed.low% of what it sent in the same hours yesterday.",
        for_="30m",
        why="It compares the same hours of two days, so bursts and nights cancel out.",
    ),
)

_REFUSALS = (
    Alert(
        "EsimWebhookSignatureFailures",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f"{_SECRET_CHANGED} > 0",
        "The vendor signs with a secret that the exporter does not know, as after a rotation.",
        "Deliveries about known eSIMs of {{ $labels.vendor }} have a wrong signature, or come from "
        "an address that is not allowed, and none that is right has arrived since. The exporter "
        "probably needs the vendor's new secret or address.",
        for_="5m",
    ),
    Alert(
        "EsimWebhookSignatureFailures",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
{_WRONG} / (({_WRONG} + {_VERIFIED} or {_WRONG}) > 0) > @feed.signature_share
and {_rejected(_SIGNATURE, "1h")} > @feed.failures_few
""",
        "Deliveries with a wrong signature reach the webhook.",
        "{{ $value | humanizePercentage }} of the signed deliveries to the webhook of "
        "{{ $labels.vendor }} within the last four hours had a wrong signature.",
        for_="10m",
        why="Deliveries without a signature do not count. Anybody can send them.",
    ),
    Alert(
        "EsimWebhookInvalidPayloads",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f"""
{_INVALID} / ({_INVALID} + {_EVENTS} > 0) > @feed.rejected_most
and {_rejected(_UNFIT, "1h")} > @feed.failures_few
""",
        "The exporter cannot understand most of the vendor's deliveries.",
        "{{ $value | humanizePercentage }} of the deliveries of {{ $labels.vendor }} within "
        "the last four hours do not fit the known format. The vendor may have changed it.",
        for_="10m",
    ),
    Alert(
        "EsimWebhookInvalidPayloads",
        Severity.WARNING,
        Scope.EXPORTER,
        f"{_rejected(_UNFIT, '1h')} > @feed.failures_few",
        "The exporter cannot understand some of the vendor's deliveries.",
        '{{ $value | printf "%.0f" }} deliveries of {{ $labels.vendor }} within the last hour '
        "do not fit the known format.",
        for_="15m",
    ),
    Alert(
        "EsimWebhookUnknownFields",
        Severity.INFO,
        Scope.EXPORTER,
        f"""
sum {by("vendor", "field")} (increase(esim_exporter_webhook_unknown_fields_total[1h])) > 0
""",
        "The vendor sends fields that the exporter does not know, or half of a pair.",
        '{{ $labels.vendor }} sent {{ $labels.field }} in {{ $value | printf "%.0f" }} deliveries '
        "within the last hour. The exporter took the rest of each.",
        for_="10m",
    ),
)

_CLOCK = "Clocks disagree, so events look older or newer than they are."
_TIMES = (
    Alert(
        "EsimClockSkew",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
min {_VENDOR} (min_over_time(esim_exporter_last_event_delay_seconds[2h])) >= @feed.clock_skew
{REPORTS_AT_INTERVALS}
""",
        _CLOCK,
        "For hours, every event of {{ $labels.vendor }} arrived {{ $value | humanizeDuration }} or "
        "more after its own time. The vendor's clock is behind, or the vendor sends late.",
        for_="2h",
        labels={"clock": "vendor", "direction": "behind"},
        why="It needs hours, because an event that the vendor sends again is late too. For hours, "
        "that may be the only event of a vendor that reports at thresholds only.",
    ),
    Alert(
        "EsimClockSkew",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
0 - max {_VENDOR} (max_over_time(esim_exporter_last_event_delay_seconds[2h]))
  >= @feed.clock_skew - 10s
""",
        _CLOCK,
        "The events of {{ $labels.vendor }} have times that are {{ $value | humanizeDuration }} or "
        "more in the future. The vendor's clock is ahead, or the exporter's is behind.",
        for_="15m",
        labels={"clock": "vendor", "direction": "ahead"},
        why="The ten seconds are for the way of an event, which makes it look less ahead.",
    ),
    Alert(
        "EsimWebhookEventsTooOld",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
{_TOO_OLD} / ({_TOO_OLD} + {_EVENTS} > 0) > @feed.too_old_share
and {_TOO_OLD} > @feed.failures_few
""",
        "Many events are too old on arrival to change anything.",
        "{{ $value | humanizePercentage }} of the events of {{ $labels.vendor }} within the last "
        "four hours were older than what was known.",
        for_="30m",
    ),
)

FEED = Group(
    "esim-feed",
    "1m",
    (
        Recording(_ACTIVATED, fleet_sum('esim_fleet_esims{status="ACTIVATED"}', "vendor")),
        Recording(_USAGE_AGE, f"time() - {_USAGE}"),
        Recording(
            _EVENTS,
            _events('result="accepted"'),
            "Every activated eSIM reports once in four hours, whether the vendor sends the reports "
            "at once or spread out.",
        ),
        Recording(_TOO_OLD, _events('result=~"stale|late"')),
        Recording(
            _VERIFIED, f"sum {_VENDOR} (increase(esim_exporter_webhook_signatures_total[4h]))"
        ),
        Recording(_WRONG, _rejected(_SIGNATURE, "4h")),
        Recording(_INVALID, _rejected(_UNFIT, "4h")),
        Recording(
            _SECRET_CHANGED,
            f"""
(
  sum {_VENDOR} (increase(esim_exporter_webhook_unverified_known_esims_total[15m])) > 0
  or {_SECRET_CHANGED}
)
unless on (job, vendor) time() - {_HEARD} <= 10m
""",
            "It begins with a wrong signature of an event about a known eSIM, and ends "
            "with a right one. So it reads its own last value. A vendor that sends one event an "
            "hour is told once. A scanner knows none of the eSIMs.",
        ),
        *_SILENCE,
        *_REFUSALS,
        *_TIMES,
    ),
)
