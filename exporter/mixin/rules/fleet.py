"""Alerts about packages, the fleet, and the account at the vendor.

They use only the families ``esim_fleet_*`` and ``esim_partner_*`` and the number of shards, all of
the job ``esim-exporter``. So they work without series of single eSIMs.
"""

from __future__ import annotations

from exporter.mixin.rules.feed import REPORTS_AT_INTERVALS, USAGE_ARRIVED
from exporter.mixin.rules.rule_types import TERMINAL, Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.shards import by, fleet_rise, fleet_sum, resharded

_OVER = "package:esim_fleet_allowances_over:ratio"
_ALLOWANCES = "package:esim_fleet_allowances:sum"
_CONSUMED4H = "package:esim_fleet_data_consumed_bytes:delta4h"
_CONSUMED1D = "package:esim_fleet_data_consumed_bytes:delta1d"
_STEADY1D = "package:esim_fleet_data_consumed_bytes:steady1d"
_ESIMS = "vendor:esim_fleet_esims:sum"
_ENDED4H = "vendor_status:esim_fleet_esims:delta4h"
_LIVING = "vendor:esim_fleet_esims_not_terminal:sum"
_ACTIVATED = fleet_sum('esim_fleet_esims{status="ACTIVATED"}', "vendor")
_STALE = fleet_sum("esim_fleet_esims_stale", "vendor", replicas="min")
_LIVE = f'sum without (status) (esim_fleet_allowances{{status!~"{TERMINAL}"}})'
_PACKAGE = ("vendor", "package_id")
_THRESHOLD = (*_PACKAGE, "resource", "threshold")
_OVER_90 = fleet_sum('esim_fleet_allowances_over_threshold{threshold="0.9"}', *_THRESHOLD)


PACKAGES = Group(
    "esim-package",
    "1m",
    (
        Recording(
            _ALLOWANCES,
            fleet_sum(_LIVE, *_PACKAGE),
            "The sum over statuses comes first, in each replica. So an eSIM counts once if only "
            "one of two replicas knows its new status.",
        ),
        Recording(
            _OVER,
            f"""
{_OVER_90}
  / ignoring (resource, threshold) group_left () ({_ALLOWANCES} > 0)
""",
            "A ratio of two maxima over replicas never exceeds the greatest ratio of one replica.",
        ),
        Recording(_CONSUMED4H, fleet_rise("esim_fleet_data_consumed_bytes_total", "4h", *_PACKAGE)),
        Recording(_CONSUMED1D, fleet_rise("esim_fleet_data_consumed_bytes_total", "1d", *_PACKAGE)),
        Recording(
            _STEADY1D,
            f"""
6 * quantile_over_time(0.5, {_CONSUMED4H}[1d:4h])
and count_over_time({_CONSUMED4H}[1d:4h]) >= 6
""",
            "A new eSIM adds all that it ever used to the counter. That happens when the exporter "
            "is new, or gets events again after a long pause. The median of the day's six "
            "windows ignores it, unless it happens in most of them.",
        ),
        Alert(
            "EsimPackageUsageHigh",
            Severity.WARNING,
            Scope.PACKAGE,
            f"""
{_OVER} > @packages.usage_high
and {_OVER_90} >= @packages.min_esims
""",
            "Many eSIMs of a package have used most of their allowance.",
            "{{ $value | humanizePercentage }} of the eSIMs with package "
            "{{ $labels.package_id }} have used 90 % or more of its {{ $labels.resource }}.",
            for_="15m",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimPackageExhaustionForecast",
            Severity.WARNING,
            Scope.PACKAGE,
            f"""
{fleet_sum("esim_fleet_data_remaining_bytes", *_PACKAGE, replicas="min")}
    / ((({_CONSUMED1D} < {_STEADY1D}) or ({_STEADY1D} <= {_CONSUMED1D})) > 0) * 1d
  < @forecast.horizon
and {_ALLOWANCES} >= @packages.min_esims
{REPORTS_AT_INTERVALS}
""",
            "The data of a package's eSIMs is forecast to run out.",
            "At the consumption of the last day, the remaining data of all eSIMs with package "
            "{{ $labels.package_id }} lasts for {{ $value | humanizeDuration }}.",
            for_="1h",
            keep="@keep_firing_for",
        ),
    ),
)


def _mass(name: str, severity: Severity, status: str, summary: str) -> Alert:
    selector = f"{_ENDED4H}{{{status}}}"
    return Alert(
        name,
        severity,
        Scope.FLEET,
        f"""
{selector} >= @mass.min_esims
and {selector} / ignoring (status) group_left () ({_ESIMS} > 0) > @mass.share
unless {selector} <= @mass.factor * ({selector} offset 1d)
""",
        summary,
        '{{ $value | printf "%.0f" }} more eSIMs of {{ $labels.vendor }} are '
        "{{ $labels.status }} than four hours ago, many more than usual at this time of day.",
        for_="5m",
        keep="@keep_firing_for",
    )


FLEET = Group(
    "esim-fleet",
    "1m",
    (
        Recording(_ESIMS, fleet_sum("sum without (status) (esim_fleet_esims)", "vendor")),
        Recording(
            _LIVING,
            fleet_sum(f'sum without (status) (esim_fleet_esims{{status!~"{TERMINAL}"}})', "vendor"),
        ),
        Recording(
            _ENDED4H,
            fleet_rise(f'esim_fleet_esims{{status=~"{TERMINAL}"}}', "4h", "vendor", "status"),
        ),
        _mass(
            "EsimMassRevocation",
            Severity.CRITICAL,
            'status="REVOKED"',
            "The vendor has revoked many eSIMs at once.",
        ),
        _mass(
            "EsimMassExpiry",
            Severity.WARNING,
            'status=~"DELETED|EXPIRED"',
            "Many eSIMs have expired or were deleted at once.",
        ),
        Alert(
            "EsimFleetShrunk",
            Severity.CRITICAL,
            Scope.FLEET,
            f"""
max_over_time({_ESIMS}[15m])
  < @fleet.kept * (max_over_time({_LIVING}[12h]) > @fleet.min_esims)
      - on (job) group_left () sum {by()} (increase(esim_exporter_expired_total[12h]))
{resharded("12h")}
""",
            "The exporter has lost track of many eSIMs.",
            'The exporter shows {{ $value | printf "%.0f" }} eSIMs of {{ $labels.vendor }}. That '
            "is less than @fleet.kept% of those that it had within the last twelve hours and that "
            "have not expired.",
            for_="1m",
            why="Every eSIM that was not terminal must still be there, whatever its status is "
            "now. So it is silent when terminal eSIMs expire. What expired because it "
            "was silent is subtracted. An exporter that is down shows nothing, and nothing is "
            "compared. One that lost its storage shows 0. It is silent for twelve hours after "
            "the number of shards changes, because eSIMs counted twice while only some replicas "
            "had the new number.",
        ),
        Alert(
            "EsimUsageNotMoving",
            Severity.WARNING,
            Scope.FLEET,
            f"""
(
{fleet_rise("esim_fleet_data_consumed_bytes_total", "8h", "vendor", apart=("package_id",))}
) == 0
and on (job, vendor) {_ACTIVATED} > @fleet.min_esims
{REPORTS_AT_INTERVALS}
{USAGE_ARRIVED}
""",
            "Events arrive, but no eSIM consumes anything.",
            "No eSIM of {{ $labels.vendor }} has consumed any data for eight hours.",
            for_="1h",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimFleetReportingStale",
            Severity.WARNING,
            Scope.FLEET,
            f"""
{_STALE}
  / ({_ACTIVATED} > 0)
> @fleet.stale
and {_STALE} >= @packages.min_esims
{REPORTS_AT_INTERVALS}
{USAGE_ARRIVED}
""",
            "Many activated eSIMs have stopped reporting.",
            "{{ $value | humanizePercentage }} of the activated eSIMs of {{ $labels.vendor }} "
            "have missed two reports.",
            for_="30m",
            keep="@keep_firing_for",
            why="It takes the least value over replicas, because an event that reached one of them "
            "has arrived.",
        ),
    ),
)

_NOTICE = f"max {by('vendor')} (esim_partner_last_event_timestamp_seconds"

PARTNER = Group(
    "esim-partner",
    "1m",
    (
        Alert(
            "EsimPartnerBalanceInsufficient",
            Severity.CRITICAL,
            Scope.FLEET,
            f"""
{_NOTICE}{{event_type="insufficient_balance"}})
unless
  {_NOTICE}{{event_type="insufficient_balance"}})
    <= {_NOTICE}{{event_type="top_up"}})
""",
            "The balance at the vendor is too low, so orders fail.",
            "{{ $labels.vendor }} has reported an insufficient balance at "
            "{{ $value | humanizeTimestamp }}, and no top-up since.",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimPartnerBalanceLow",
            Severity.WARNING,
            Scope.FLEET,
            f"max {by('vendor', 'currency')} (\n"
            "  esim_partner_balance < esim_partner_balance_threshold\n)",
            "The balance at the vendor is below its threshold.",
            'The balance at {{ $labels.vendor }} is {{ $value | printf "%.2f" }} '
            "{{ $labels.currency }}, below the threshold.",
            for_="5m",
            keep="@keep_firing_for",
        ),
    ),
)
