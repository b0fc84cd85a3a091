"""Alerts about the exporter itself, and about the Prometheus that evaluates these rules."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import sum_of_processes

_GROUPS = 'rule_group=~".*;esim-.*"'


def _down(job: str, what: str) -> Alert:
    return Alert(
        "EsimExporterDown",
        Severity.CRITICAL,
        Scope.EXPORTER,
        f'absent(up{{job="{job}"}} == 1)',
        "Prometheus cannot scrape the exporter, so no alert can fire.",
        f"No target of job {job} has answered a scrape for five minutes, so no alert about {what} "
        "can fire.",
        for_="5m",
        labels={"job": job},
        why="absent() of a comparison has no labels, and up == 0 misses a target that is gone.",
    )


def _one_down(job: str, what: str) -> Alert:
    return Alert(
        "EsimReplicaDown",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
min without (instance, pod) (up{{job="{job}"}})
  < max without (instance, pod) (up{{job="{job}"}})
""",
        "Prometheus cannot scrape one of the exporter's targets.",
        f"A target of job {job} has not answered a scrape for 15 minutes. If no other replica "
        f"shows the same shard, no alert about {what} can fire.",
        for_="15m",
        labels={"job": job},
    )


def _ticket(
    name: str, for_: str, expr: str, summary: str, description: str, *, why: str = ""
) -> Alert:
    return Alert(
        *(name, Severity.WARNING, Scope.EXPORTER, expr, summary, description), for_=for_, why=why
    )


_TOTAL_SHARDS = "max without (instance, pod) (esim_exporter_total_shards)"
_SHOWN_SHARDS = """
count without (shard) (
      count_values without (instance, pod) ("shard", esim_exporter_shard)
    )
""".strip()


EXPORTER = Group(
    "esim-exporter",
    "1m",
    (
        _down("@jobs.exporter", "the fleet, incoming events or the exporter"),
        _down("@jobs.esims", "single eSIMs"),
        _one_down("@jobs.exporter", "its part of the fleet"),
        _one_down("@jobs.esims", "its part of the eSIMs"),
        Alert(
            "EsimStorageDown",
            Severity.CRITICAL,
            Scope.EXPORTER,
            "min without (instance, pod) (esim_exporter_storage_up) == 0",
            "The exporter's storage does not work, so events are refused.",
            "For two minutes, a process of job {{ $labels.job }} could not write to its storage. "
            "It refuses every event and shows the fleet as it was.",
            for_="2m",
            why="One replica is enough, because it refuses every delivery that reaches it. Two "
            "minutes are longer than a failover. They are short enough to fire before "
            "EsimWebhookErrorBudgetBurn, which this alert mutes. It also mutes "
            "EsimStorageNotCommitting, which is for a storage that accepts each probe and fails "
            "with the next commit.",
        ),
        Alert(
            "EsimStorageNotCommitting",
            Severity.CRITICAL,
            Scope.EXPORTER,
            """
sum without (instance, pod) (
  sum without (vendor, reason) (
    increase(esim_exporter_webhook_rejected_total{reason="storage"}[15m])
  ) > 0
  unless
    increase(esim_exporter_storage_commit_duration_seconds_count[5m])
      - increase(esim_exporter_storage_commit_errors_total[5m]) > 0
)
""",
            "The exporter cannot write to its storage and refuses events.",
            'Job {{ $labels.job }} refused {{ $value | printf "%.0f" }} events within 15 minutes '
            "and committed none within the last five. The vendor gives up after a few attempts.",
            for_="5m",
        ),
        _ticket(
            "EsimStorageDamaged",
            "",
            "max without (instance, pod) (esim_exporter_storage_damaged_rows) > 0",
            "The exporter found damage in its storage.",
            'Job {{ $labels.job }} found {{ $value | printf "%.0f" }} damaged places when it last '
            "loaded its storage.",
        ),
        _ticket(
            "EsimRejectedEventsWaiting",
            "1h",
            "max without (instance, pod) (esim_exporter_rejected_events) > 0",
            "Rejected deliveries wait for somebody to read them.",
            'Job {{ $labels.job }} keeps {{ $value | printf "%.0f" }} signed deliveries that it '
            "could not understand.",
        ),
        _ticket(
            "EsimCapReached",
            "15m",
            f"{sum_of_processes('esim_exporter_esims_over_limit')} > 0",
            "There are more eSIMs than the exporter may show.",
            '{{ $value | printf "%.0f" }} eSIMs of job {{ $labels.job }} are above the limit and '
            "have no series of their own. No alert about one of them can fire.",
        ),
        _ticket(
            "EsimExporterCrashLooping",
            "5m",
            "max without (instance, pod) "
            '(changes(process_start_time_seconds{job="@jobs.exporter"}[1h])) '
            "> @exporter.crash_loop",
            "The exporter starts again and again.",
            'Job {{ $labels.job }} was started {{ $value | printf "%.0f" }} times within an hour.',
        ),
        _ticket(
            "EsimConfigReloadFailed",
            "10m",
            "min without (instance, pod) (esim_exporter_config_last_reload_successful) == 0",
            "The exporter could not apply its changed settings.",
            "Job {{ $labels.job }} keeps its last good settings. It cannot restart until the new "
            "ones are right.",
        ),
        Alert(
            "EsimShardMissing",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"{_TOTAL_SHARDS}\n  - {_SHOWN_SHARDS}\n> 0",
            "No replica shows a part of the fleet, so no alert about it can fire.",
            'No replica shows {{ $value | printf "%.0f" }} of the shards of job '
            "{{ $labels.job }}. No alert about their eSIMs can fire.",
            for_="5m",
        ),
        _ticket(
            "EsimShardsDisagree",
            "15m",
            f"{_TOTAL_SHARDS}\n  - min without (instance, pod) (esim_exporter_total_shards)\n> 0",
            "Replicas do not agree on the number of shards.",
            "Some replicas of job {{ $labels.job }} have {{ $value }} shards more than others, so "
            "eSIMs count twice or not at all.",
        ),
        _ticket(
            "EsimReplicaLagging",
            "5m",
            """
max without (instance, pod) (
  esim_exporter_storage_lag_seconds and esim_exporter_storage_up == 1
) > @exporter.replica_lag
""",
            "A replica is behind the others.",
            "A replica of job {{ $labels.job }} shows the fleet as it was "
            "{{ $value | humanizeDuration }} ago.",
            why="Not while the storage is down: EsimStorageDown fires then.",
        ),
        Alert(
            "EsimClockSkew",
            Severity.WARNING,
            Scope.EXPORTER,
            """
max without (instance, pod) (esim_exporter_last_received_timestamp_seconds) - time()
  > @feed.clock_skew
""",
            "Clocks disagree, so events look older or newer than they are.",
            "By the exporter's clock, the newest event of {{ $labels.vendor }} arrived "
            "{{ $value | humanizeDuration }} later than Prometheus's clock shows now.",
            for_="15m",
            labels={"clock": "exporter"},
        ),
        _ticket(
            "EsimRuleEvaluationFailing",
            "5m",
            f"""
increase(prometheus_rule_evaluation_failures_total{{{_GROUPS}}}[15m]) > 0
or increase(prometheus_rule_group_iterations_missed_total{{{_GROUPS}}}[15m]) > 0
""",
            "Prometheus cannot evaluate rules about eSIMs, or not in time.",
            "Evaluations of {{ $labels.rule_group }} fail or are skipped, so its alerts may be "
            "missing.",
        ),
    ),
)

_REQUESTS = 'esim_exporter_http_requests_total{handler=~"/webhooks/.+"'
_WITHOUT = "sum without (instance, pod, handler, method, code)"


def _error_ratio(window: str) -> Recording:
    return Recording(
        f"job:esim_exporter_webhook_requests:error_ratio_rate{window}",
        f"""
{_WITHOUT} (rate({_REQUESTS},code=~"5.."}}[{window}]))
/ ({_WITHOUT} (rate({_REQUESTS}}}[{window}])) > 0)
""",
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
and {_WITHOUT} (increase({_REQUESTS}}}[{long}])) > @webhook.budget_min_requests
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
        *map(_error_ratio, ("5m", "30m", "1h", "2h", "6h", "1d", "3d")),
        _burn(Severity.CRITICAL, 14.4, "1h", "5m", "2m"),
        _burn(Severity.CRITICAL, 6, "6h", "30m", "15m"),
        _burn(Severity.WARNING, 3, "1d", "2h", "1h"),
        _burn(Severity.WARNING, 1, "3d", "6h", "3h"),
        Alert(
            "EsimWebhookSlow",
            Severity.WARNING,
            Scope.EXPORTER,
            """
1 -
  sum without (instance, pod, le) (
    rate(esim_exporter_webhook_duration_seconds_bucket{le="2.0"}[1h])
  )
  / (sum without (instance, pod) (rate(esim_exporter_webhook_duration_seconds_count[1h])) > 0)
> @webhook.slow_share
and
  sum without (instance, pod) (increase(esim_exporter_webhook_duration_seconds_count[1h]))
    - sum without (instance, pod, le) (
        increase(esim_exporter_webhook_duration_seconds_bucket{le="2.0"}[1h])
      )
  > @feed.failures_few
""",
            "The exporter answers webhooks later than the vendor waits.",
            "{{ $value | humanizePercentage }} of the answers of job {{ $labels.job }} took longer "
            "than two seconds. The vendor treats them as failures.",
            for_="10m",
        ),
    ),
)

WATCHDOG = Group(
    "esim-watchdog",
    "1m",
    (
        Alert(
            "Watchdog",
            Severity.NONE,
            Scope.EXPORTER,
            "vector(1)",
            "Alerting works.",
            "This alert always fires. A service outside must notice when it stops arriving.",
        ),
    ),
)
