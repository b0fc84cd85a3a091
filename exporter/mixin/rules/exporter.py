"""Alerts about the exporter itself, and about the Prometheus that evaluates these rules."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import by, sum_of_processes

_GROUPS = 'rule_group=~".*;esim-.*"'
_JOB = by()

UP = "job:esim_exporter_up:max"
"""Recorded: 1 while a target of the job answers, 0 while none does."""
STORAGE_UP = "job:esim_exporter_storage_up:min"
"""Recorded: 0 while a process cannot write to its storage."""
STORAGE_TOLD = "job:esim_exporter_storage_up:max150s"
"""Recorded: 0 while EsimStorageDown fires, which is from the third evaluation on."""
_MISSING = "job:esim_exporter_shards_missing:count"
_UP = 'up{job="@jobs.exporter"}'
_ESIMS_UP = 'up{job="@jobs.esims"}'


def _one_down(job: str, what: str) -> Alert:
    return Alert(
        "EsimReplicaDown",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
min {_JOB} (up{{job="{job}"}}) < max {_JOB} (up{{job="{job}"}})
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


def _certificate(within: str, comparison: str) -> Alert:
    return Alert(
        "EsimTlsCertificateExpiring",
        Severity.WARNING,
        Scope.EXPORTER,
        f"""
min {by("listener")} (esim_exporter_tls_certificate_expiry_timestamp_seconds) - time()
  {comparison}
""",
        f"A TLS certificate of the exporter ends within {within}.",
        "The certificate of the {{ $labels.listener }} listener of job {{ $labels.job }} ends in "
        "{{ $value | humanizeDuration }}. Then the vendor or Prometheus cannot connect.",
        labels={"within": within},
    )


_TOTAL_SHARDS = f"max {_JOB} (esim_exporter_total_shards)"
_SHOWN_SHARDS = f'count {_JOB} (count_values {_JOB} ("shard", esim_exporter_shard))'


EXPORTER = Group(
    "esim-exporter",
    "1m",
    (
        Recording(UP, f"max {_JOB} ({_UP})"),
        Recording(STORAGE_UP, f"min {_JOB} (esim_exporter_storage_up)"),
        Recording(_MISSING, f"{_TOTAL_SHARDS}\n  - {_SHOWN_SHARDS}"),
        Recording(STORAGE_TOLD, f"max_over_time({STORAGE_UP}[150s])"),
        Alert(
            "EsimExporterDown",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"""
max {_JOB} (max_over_time({_UP}[1d])) unless on (job) {UP} == 1
or absent({_UP})
""",
            "Prometheus cannot scrape the exporter, so no alert can fire.",
            "No target of job @jobs.exporter has answered a scrape for five minutes, so no alert "
            "can fire.",
            for_="5m",
            labels={"job": "@jobs.exporter"},
            why="A target that is gone has no series. For a day, its last samples still name it.",
        ),
        Alert(
            "EsimExporterDown",
            Severity.WARNING,
            Scope.EXPORTER,
            f"max {_JOB} ({_ESIMS_UP}) == 0",
            "Prometheus cannot scrape series of single eSIMs.",
            "No target of job @jobs.esims has answered a scrape for 15 minutes. No alert "
            "about forecasts, spikes and fair use can fire, but the others can.",
            for_="15m",
            labels={"job": "@jobs.esims"},
            why="It is silent without this job, which large fleets leave out.",
        ),
        _one_down("@jobs.exporter", "its part of the fleet"),
        _one_down("@jobs.esims", "forecasts, spikes and fair use of its eSIMs"),
        Alert(
            "EsimExporterCrashLooping",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"""
max {_JOB} (avg_over_time({_UP}[15m])) < @exporter.up_share
and max {_JOB} (changes({_UP}[15m])) > @exporter.crash_loop
""",
            "The exporter starts again and again, and is down most of the time.",
            "Job {{ $labels.job }} answered only {{ $value | humanizePercentage }} of the scrapes "
            "within 15 minutes, with starts in between. Events are lost if the vendor gives up.",
            why="EsimExporterDown is silent, because a scrape succeeds now and then.",
        ),
        Alert(
            "EsimStorageDown",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"{STORAGE_UP} == 0",
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
            f"""
sum {_JOB} (
  sum without (vendor, reason) (
    increase(esim_exporter_webhook_rejected_total{{reason="storage"}}[15m])
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
            f"max {_JOB} (esim_exporter_storage_damaged_rows) > 0",
            "The exporter found damage in its storage.",
            'Job {{ $labels.job }} found {{ $value | printf "%.0f" }} damaged places when it last '
            "loaded its storage.",
        ),
        _ticket(
            "EsimRejectedEventsWaiting",
            "1h",
            f"max {_JOB} (esim_exporter_rejected_events) > 0",
            "Rejected deliveries wait for somebody to read them.",
            'Job {{ $labels.job }} keeps {{ $value | printf "%.0f" }} signed deliveries that it '
            "could not understand.",
        ),
        _ticket(
            "EsimRejectedEventsDropped",
            "",
            f"sum {_JOB} (increase(esim_exporter_rejected_dropped_total[1h])) > 0",
            "Rejected deliveries were dropped before anybody read them.",
            'Job {{ $labels.job }} dropped {{ $value | printf "%.0f" }} rejected deliveries within '
            "an hour, because it may only keep so many. Their events cannot be replayed.",
        ),
        _ticket(
            "EsimExporterRequestsFailing",
            "",
            f"sum {by('listener')} (increase(esim_exporter_http_failures_total[1h])) > 0",
            "Requests to the exporter fail because of a mistake in it.",
            '{{ $value | printf "%.0f" }} requests to the {{ $labels.listener }} listener of job '
            "{{ $labels.job }} failed unexpectedly within an hour. The log has the reason.",
        ),
        _ticket(
            "EsimConnectionsRefused",
            "",
            f"""
sum {by("listener")} (
  increase(esim_exporter_http_connections_refused_total[1h])
    + increase(esim_exporter_http_connections_displaced_total[1h])
) > @exporter.connections_refused
""",
            "A listener of the exporter is full, so connections are refused.",
            "The {{ $labels.listener }} listener of job {{ $labels.job }} refused or displaced "
            '{{ $value | printf "%.0f" }} connections within an hour.',
        ),
        _certificate(
            "@exporter.certificate_ends",
            "< @exporter.certificate_ends >= @exporter.certificate_ends_soon",
        ),
        _certificate("@exporter.certificate_ends_soon", "< @exporter.certificate_ends_soon"),
        _ticket(
            "EsimAttentionLimitReached",
            "15m",
            f"{sum_of_processes('esim_exporter_attention_over_limit')} > 0",
            "More eSIMs need attention than the exporter may show.",
            '{{ $value | printf "%.0f" }} eSIMs of job {{ $labels.job }} need attention, but are '
            "above the limit. No alert about one of them can fire.",
        ),
        _ticket(
            "EsimCapReached",
            "15m",
            f"{sum_of_processes('esim_exporter_esims_over_limit')} > 0",
            "There are more eSIMs than the exporter may show.",
            '{{ $value | printf "%.0f" }} eSIMs of job {{ $labels.job }} are above the limit and '
            "have no series of their own. No forecast, and no alert about spikes or fair use, can "
            "fire for them.",
        ),
        _ticket(
            "EsimExporterCrashLooping",
            "5m",
            f'max {_JOB} (changes(process_start_time_seconds{{job="@jobs.exporter"}}[1h])) '
            "> @exporter.crash_loop",
            "The exporter starts again and again.",
            'Job {{ $labels.job }} was started {{ $value | printf "%.0f" }} times within an hour.',
        ),
        _ticket(
            "EsimConfigReloadFailed",
            "10m",
            f"min {_JOB} (esim_exporter_config_last_reload_successful) == 0",
            "The exporter could not apply its changed settings.",
            "Job {{ $labels.job }} keeps its last good settings. It cannot restart until the new "
            "ones are right.",
        ),
        Alert(
            "EsimShardMissing",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"""
max_over_time({_MISSING}[10m])
and on (job) avg_over_time(({_MISSING} > bool 0)[10m:1m]) >= 0.5
""",
            "No replica shows a part of the fleet, so no alert about it can fire.",
            'For most of ten minutes, no replica showed {{ $value | printf "%.0f" }} of the shards '
            "of job {{ $labels.job }}. No alert about their eSIMs can fire.",
            why="It counts minutes, so it also finds a shard that comes back now and then.",
        ),
        _ticket(
            "EsimShardsDisagree",
            "15m",
            f"{_TOTAL_SHARDS} - min {_JOB} (esim_exporter_total_shards) > 0",
            "Replicas do not agree on the number of shards.",
            "Some replicas of job {{ $labels.job }} have {{ $value }} shards more than others, so "
            "eSIMs count twice or not at all.",
        ),
        _ticket(
            "EsimReplicaLagging",
            "5m",
            f"""
max {_JOB} (
  esim_exporter_storage_lag_seconds and esim_exporter_storage_up == 1
) > @exporter.replica_lag
""",
            "A replica is behind the others.",
            "A replica of job {{ $labels.job }} shows the fleet as it was "
            "{{ $value | humanizeDuration }} ago.",
            why="Not while the storage is down: EsimStorageDown fires then.",
        ),
        _ticket(
            "EsimExpositionOld",
            "5m",
            f"max {_JOB} (esim_exporter_exposition_age_seconds) > @exporter.exposition_age",
            "Scrapes show events late.",
            "The metrics of job {{ $labels.job }} leave out events of the last "
            "{{ $value | humanizeDuration }}, because the exporter is short of processor time.",
        ),
        Alert(
            "EsimClockSkew",
            Severity.WARNING,
            Scope.EXPORTER,
            f"""
max {by("vendor")} (esim_exporter_last_received_timestamp_seconds) - time() > @feed.clock_skew
""",
            "Clocks disagree, so events look older or newer than they are.",
            "By the exporter's clock, the newest event of {{ $labels.vendor }} arrived "
            "{{ $value | humanizeDuration }} later than Prometheus's clock shows now.",
            for_="15m",
            labels={"clock": "exporter"},
        ),
        Alert(
            "EsimExporterClockBehind",
            Severity.CRITICAL,
            Scope.EXPORTER,
            f"max {_JOB} (esim_exporter_clock_behind) == 1",
            "The exporter's clock is behind, so it refuses events.",
            "Most of the newest events that reached job {{ $labels.job }} have a time that is more "
            "than a day ahead of its clock. It refuses them and keeps them for a replay.",
            for_="5m",
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
