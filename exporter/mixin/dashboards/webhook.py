"""Panels of the webhook, for the exporter's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.panels import Query, Words, lines, quantiles, recoloured, shaded

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries

    from exporter.mixin.values import MixinValues

_BURN: Final = {"1h": 14.4, "6h": 6.0, "1d": 3.0, "3d": 1.0}
"""The burn rate above which each window alerts, as in the rules."""

_CLASSES: Final = {
    "2": palette.GOOD,
    "3": palette.NEUTRAL,
    "4": palette.WARNING,
    "5": palette.CRITICAL,
}
"""The colours of HTTP codes by their first digit."""

_RESULTS: Final = {
    "accepted": palette.GOOD,
    "duplicate": palette.NEUTRAL,
    "late": palette.NOTICE,
    "stale": palette.IDLE,
    "ignored": "dark-purple",
}


def error_ratio(window: str) -> str:
    """Return an expression for the share of failed requests by job; 0 if none ever failed."""
    requests = 'increase(esim_exporter_http_requests_total{@exporter, handler=~"/webhooks/.+"}'
    return f"""clamp_min(job:esim_exporter_webhook_requests:error_ratio_rate{window}{{@job}}, 0)
        or 0 * (sum by (job) ({requests}[{window}])) > 0)"""


def _occurring(labels: str, family: str) -> str:
    """Return an expression for the kinds that occur in the shown time, because there are many."""
    return f"sum by ({labels}) (increase({family}[$__range] @ end())) > 0"


def events() -> timeseries.Panel:
    """Return the panel of verified events over time."""
    family, kinds = "esim_exporter_webhook_events_total{@fleet}", "event_type, result"
    panel = lines(
        Words(
            "Verified events by type and result",
            """A vendor that reports at intervals sends a usage event of every activated eSIM in
            each: if they are fewer than yesterday, see EsimWebhookFeedLow. Others send one at each
            threshold. late and stale events came out of order, which is harmless. Many duplicates
            mean that the vendor retries because answers are too slow.""",
            "nothing received yet",
        ),
        [
            Query(
                f"""60 * sum by ({kinds}) (rate({family}[$__rate_interval]))
                and {_occurring(kinds, family)}""",
                "{{event_type}} {{result}}",
            )
        ],
        "epm",
        stacked=True,
        legend=["mean", "max"],
    ).decimals(2)
    for result, colour in _RESULTS.items():
        panel = recoloured(panel, f"usage {result}", colour)
    return panel


def rejections() -> timeseries.Panel:
    """Return the panel of rejected deliveries over time."""
    family = "esim_exporter_webhook_rejected_total{@fleet}"
    rate = f"rate({family}[$__rate_interval])"
    return lines(
        Words(
            "Rejected deliveries by reason",
            """signature: a wrong secret or a stranger. unsigned: a stranger or a probe. malformed
            and invalid: a new format.
            storage and overload: events may be lost, so free disk space or processor time.
            too_large and timeout: something between the vendor and the exporter.""",
            "nothing was rejected",
        ),
        [Query(f"60 * sum by (reason) ({rate}) and {_occurring('reason', family)}", "{{reason}}")],
        "epm",
        stacked=True,
        legend=["mean", "max"],
    ).decimals(2)


def latency() -> timeseries.Panel:
    """Return the panel of the time to answer."""
    return lines(
        Words(
            "Time to answer the webhook",
            """The time includes the commit. The lines are the median and the slowest 5 % and 1 %.
            The vendor gives up after 2 or 3 s (dashed lines) and sends again. If p99 is near
            them, see the commits below.""",
            "no requests",
        ),
        quantiles("esim_exporter_webhook_duration_seconds", "@exporter", 0.5, 0.95, 0.99),
        "s",
        steps=((None, "transparent"), (2, palette.WARNING), (3, palette.CRITICAL)),
        fill=0,
        decades=(0.001, 10),
    )


def delay() -> timeseries.Panel:
    """Return the panel of the delay of events."""
    return lines(
        Words(
            "Delay of events",
            """Time from an event's own time to its arrival. Minutes for a few events are retries.
            Hours for many mean that the vendor is behind, or that its clock is wrong.""",
            "no events",
        ),
        quantiles("esim_exporter_event_delay_seconds", "@exporter", 0.5, 0.95),
        "s",
        fill=0,
    )


def burn(values: MixinValues) -> timeseries.Panel:
    """Return the panel of how fast the error budget is used."""
    return lines(
        Words(
            "Error budget burn",
            """How many times faster than allowed requests fail, over several windows. Above 14.4
            in one hour or 6 in six hours it is a page; above 3 in a day or 1 in three days it
            is a ticket. Errors of an outage that EsimStorageDown told of do not count.""",
            "no requests, or the rules are not loaded",
        ),
        [
            Query(
                f"max by (job) ({error_ratio(window)}) / {values.webhook.error_budget}",
                f"{window}, alerts at {most:g}",
            )
            for window, most in _BURN.items()
        ],
        "none",
        fill=0,
    )


def clocks() -> timeseries.Panel:
    """Return the panel of the delay of each vendor's last event."""
    return lines(
        Words(
            "Delay of the last event",
            """Time from the last event's own time to its arrival. Steadily below zero, the clock of
            the vendor is ahead; steadily above, it is behind, or the vendor sends late.""",
            "no events since the start",
        ),
        [Query("max by (vendor) (esim_exporter_last_event_delay_seconds{@fleet})", "{{vendor}}")],
        "s",
        fill=0,
        least=None,
    )


def strangers() -> timeseries.Panel:
    """Return the panel of wrong and missing signatures."""

    def hourly(series: str) -> str:
        return f"sum(increase({series}[1h]))"

    rejected = "esim_exporter_webhook_rejected_total"
    panel = lines(
        Words(
            "Wrong signatures in an hour",
            """A wrong signature about a known eSIM can only come from the vendor: its secret has
            changed, so add the new one. Other wrong signatures, and deliveries without one, come
            from strangers and harm nobody.""",
            "not scraped",
        ),
        [
            Query(hourly(f'{rejected}{{@fleet, reason="signature"}}'), "wrong, all"),
            Query(hourly(f'{rejected}{{@fleet, reason="unsigned"}}'), "none at all"),
            # Last, so that it lies on top of the line of which it is a part.
            Query(
                hourly("esim_exporter_webhook_unverified_known_esims_total{@fleet}"),
                "wrong, about a known eSIM",
            ),
        ],
        "locale",
        fill=0,
    )
    colours = {
        "wrong, about a known eSIM": palette.CRITICAL,
        "wrong, all": palette.NOTICE,
        "none at all": palette.IDLE,
    }
    for name, colour in colours.items():
        panel = recoloured(panel, name, colour)
    return panel


def signatures() -> timeseries.Panel:
    """Return the panel of deliveries by secret."""
    rate = "rate(esim_exporter_webhook_signatures_total{@fleet}[$__rate_interval])"
    return lines(
        Words(
            "Deliveries by secret",
            """Deliveries by the place of their secret in the file, counted from 0. After a
            rotation, remove the old secret when its line stays at 0.""",
            "nothing received yet",
        ),
        [Query(f"60 * sum by (vendor, secret) ({rate})", "{{vendor}} secret {{secret}}")],
        "epm",
        stacked=True,
    )


def requests() -> timeseries.Panel:
    """Return the panel of HTTP requests by code."""
    family = "esim_exporter_http_requests_total{@exporter}"
    rate = f"rate({family}[$__rate_interval])"
    panel = lines(
        Words(
            "HTTP requests by code",
            """Requests to all listeners, also scrapes. 5xx (red) of the webhook use up the error
            budget. 4xx are orange; 401 are wrong signatures or passwords.""",
            "no requests",
        ),
        [
            Query(
                f"60 * sum by (handler, code) ({rate}) and {_occurring('handler, code', family)}",
                "{{code}} {{handler}}",
            )
        ],
        "reqpm",
        stacked=True,
    )
    for class_, colour in _CLASSES.items():
        panel = shaded(panel, f"/^{class_}/", colour)
    return panel
