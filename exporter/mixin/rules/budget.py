"""Alerts about the objectives of the webhook: few errors, and answers in time."""

from __future__ import annotations

from exporter.mixin.rules.exporter import STORAGE_TOLD
from exporter.mixin.rules.rule_types import Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import by

_JOB = by()
_HANDLED = 'esim_exporter_http_requests_total{handler=~"/webhooks/.+"'
_REQUESTS = "job:esim_exporter_webhook_requests:rate5m"
_ERRORS = "job:esim_exporter_webhook_errors:rate5m"
_OUTAGE = "job:esim_exporter_webhook_outage_errors:rate5m"
_TOLD_LATELY = f"min_over_time({STORAGE_TOLD}[6m]"


def _counted(window: str) -> str:
    """Return the requests a second within a window, without the errors of an outage."""
    return f"(avg_over_time({_REQUESTS}[{window}]) - avg_over_time({_OUTAGE}[{window}]))"


def _requests(window: str) -> str:
    """Return the requests within a window, from rates recorded once a minute."""
    return f"1m * (sum_over_time({_REQUESTS}[{window}]) - sum_over_time({_OUTAGE}[{window}]))"


def _error_ratio(window: str) -> Recording:
    return Recording(
        f"job:esim_exporter_webhook_requests:error_ratio_rate{window}",
        f"""
(avg_over_time({_ERRORS}[{window}]) - avg_over_time({_OUTAGE}[{window}]))
  / ({_counted(window)} > 0)
""",
    )


_NOW = Recording(
    "job:esim_exporter_webhook_requests:error_ratio_rate5m",
    f"({_ERRORS} - {_OUTAGE}) / ({_REQUESTS} - {_OUTAGE} > 0)",
)


def _burn(severity: Severity, factor: float, long: str, short: str, for_: str) -> Alert:
    ratio = "job:esim_exporter_webhook_requests:error_ratio_rate"
    return Alert(
        "EsimWebhookErrorBudgetBurn",
        severity,
        Scope.EXPORTER,
        f"""
{ratio}{long} > {factor:g} * @webhook.error_budget
and {ratio}{short} > {factor:g} * @webhook.error_budget
and {_requests(long)} > @webhook.budget_min_requests
""",
        "The exporter answers too many webhook requests with errors.",
        "{{ $value | humanizePercentage }} of the webhook requests of job {{ $labels.job }} "
        f"within {long} failed; the objective allows @webhook.error_budget%.",
        for_=for_,
        labels={"window": long},
    )


BUDGET = Group(
    "esim-webhook",
    "1m",
    (
        Recording(_REQUESTS, f"sum {_JOB} (rate({_HANDLED}}}[5m]))"),
        Recording(_ERRORS, f'sum {_JOB} (rate({_HANDLED},code=~"5.."}}[5m])) or 0 * {_REQUESTS}'),
        Recording(
            _OUTAGE,
            f"""
(
  sum_over_time({_ERRORS}[5m]) unless on (job) {_TOLD_LATELY} offset 1m) == 0
  or {_ERRORS}
)
and on (job) {_TOLD_LATELY}) == 0
or 0 * {_REQUESTS}
""",
            "Errors of an outage that EsimStorageDown told of. Windows of hours and days do not "
            "count them, so that no second alert follows. When that alert begins to fire, the "
            "errors of the five minutes before belong to the outage too.",
        ),
        _NOW,
        *map(_error_ratio, ("30m", "1h", "2h", "6h", "1d", "3d")),
        _burn(Severity.CRITICAL, 14.4, "1h", "5m", "2m"),
        _burn(Severity.CRITICAL, 6, "6h", "30m", "15m"),
        _burn(Severity.WARNING, 3, "1d", "2h", "1h"),
        _burn(Severity.WARNING, 1, "3d", "6h", "3h"),
        Alert(
            "EsimWebhookSlow",
            Severity.WARNING,
            Scope.EXPORTER,
            f"""
1 -
  sum {_JOB} (rate(esim_exporter_webhook_duration_seconds_bucket{{le="2.0"}}[1h]))
  / (sum {_JOB} (rate(esim_exporter_webhook_duration_seconds_count[1h])) > 0)
> @webhook.slow_share
and
  sum {_JOB} (increase(esim_exporter_webhook_duration_seconds_count[1h]))
    - sum {_JOB} (increase(esim_exporter_webhook_duration_seconds_bucket{{le="2.0"}}[1h]))
  > @feed.failures_few
""",
            "The exporter answers webhooks later than the vendor waits.",
            "{{ $value | humanizePercentage }} of the answers of job {{ $labels.job }} took longer "
            "than two seconds. The vendor treats them as failures.",
            for_="10m",
        ),
    ),
)
