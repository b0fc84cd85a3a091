"""Alerts about incoming events: whether they arrive, and whether the exporter accepts them."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import fleet_sum

_EVENTS = "vendor:esim_exporter_webhook_events:increase4h"
_VERIFIED = "vendor:esim_exporter_webhook_signatures:increase4h"
_UNSIGNED = "vendor:esim_exporter_webhook_signature_failures:increase4h"
_INVALID = "vendor:esim_exporter_webhook_invalid:increase4h"
_HEARD = "max without (instance, pod) (esim_exporter_last_received_timestamp_seconds)"
_ACTIVATED = fleet_sum('esim_fleet_esims{status="ACTIVATED"}')

_REJECTED = "esim_exporter_webhook_rejected_total"


def _rejected(reason: str, window: str) -> str:
    return f"sum without (instance, pod, reason) (increase({_REJECTED}{{{reason}}}[{window}]))"


_SIGNATURE = 'reason="signature"'
_UNFIT = 'reason=~"invalid|malformed"'


FEED = Group(
    "esim-feed",
    "1m",
    (
        Recording(
            _EVENTS,
            """
sum without (instance, pod, event_type, result) (
  increase(esim_exporter_webhook_events_total{result="accepted"}[4h])
)
""",
            "Every activated eSIM reports once in four hours, whether the vendor sends the reports "
            "at once or spread out.",
        ),
        Recording(
            _VERIFIED,
            """
sum without (instance, pod, secret) (increase(esim_exporter_webhook_signatures_total[4h]))
""",
        ),
        Recording(_UNSIGNED, _rejected(_SIGNATURE, "4h")),
        Recording(_INVALID, _rejected(_UNFIT, "4h")),
        Alert(
            "EsimWebhookFeedSilent",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"""
time() - {_HEARD} > @feed.silent
and on (job, vendor) {_ACTIVATED} > 0
""",
            "The vendor has stopped sending events.",
            "{{ $labels.vendor }} last sent an event {{ $value | humanizeDuration }} ago; every "
            "activated eSIM reports every four hours.",
            for_="15m",
            keep="5m",
        ),
        Alert(
            "EsimWebhookFeedLow",
            Severity.WARNING,
            Scope.EXPORTER,
            f"{_EVENTS} < @feed.low * ({_EVENTS} offset 1d > @feed.min_events)",
            "The vendor sends far fewer events than yesterday.",
            '{{ $labels.vendor }} sent {{ $value | printf "%.0f" }} events within the last four '
            "hours, less than @feed.low% of what it sent in the same hours yesterday.",
            for_="30m",
            why="It compares the same hours of two days, so bursts and nights cancel out.",
        ),
        Alert(
            "EsimWebhookSignatureFailures",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"""
{_UNSIGNED} / (({_UNSIGNED} + {_VERIFIED} or {_UNSIGNED}) > 0) > @feed.rejected_most
and {_UNSIGNED} > @feed.failures_few
unless on (job, vendor) time() - {_HEARD} <= 15m
""",
            "The vendor signs with a secret that the exporter does not know.",
            "{{ $value | humanizePercentage }} of the deliveries to the webhook of "
            "{{ $labels.vendor }} within the last four hours had a wrong signature. None within "
            "the last 15 minutes had a right one.",
            for_="5m",
        ),
        Alert(
            "EsimWebhookSignatureFailures",
            Severity.WARNING,
            Scope.EXPORTER,
            f"""
{_UNSIGNED} / (({_UNSIGNED} + {_VERIFIED} or {_UNSIGNED}) > 0) > @feed.signature_share
and {_rejected(_SIGNATURE, "1h")} > @feed.failures_few
""",
            "Deliveries with a wrong signature reach the webhook.",
            "{{ $value | humanizePercentage }} of the deliveries to the webhook of "
            "{{ $labels.vendor }} within the last four hours had a wrong signature.",
            for_="10m",
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
    ),
)
