"""Alerts about eSIMs without any data left. They read the group ``attention``.

An eSIM that just ran out is a page of its own. When many run out within a short time, one page
about the package or about the fleet takes the place of their pages. Rules that remember read the
results of their own last evaluation. They are in one group, so they are evaluated in this order.
"""

from __future__ import annotations

from exporter.mixin.rules.rule_types import (
    ESIM_ID,
    Alert,
    Group,
    Recording,
    Scope,
    Severity,
)

ON_ESIM = "on (job, vendor, esim_id)"
OUT = "esim_package:esim_out_of_data_since_timestamp_seconds:held"
"""Event time since when an eSIM has no data left, by the package that ran out last."""

_SHARDS = "vendor:esim_fleet_shards:count"
_SEEN = "esim_package:esim_out_of_data_seen_timestamp_seconds:first"
_RECENT = "esim_package:esim_out_of_data_seen_timestamp_seconds:recent"
_COVERED = "esim_package:esim_out_of_data_seen_timestamp_seconds:covered"
_OF_PACKAGE = "package:esim_out_of_data_recent:count"
_OF_FLEET = "vendor:esim_out_of_data_recent:count"
_NEWS = f"{OUT} > time() - @page_for and {ON_ESIM} {_SEEN} > time() - @page_for"
"""The vendor's clock may be ahead, so the moment at which the rules first saw it counts too."""

_SHOWN = "esim_attention_out_of_data_since_timestamp_seconds"
_MANY_OF_PACKAGE = f"{_OF_PACKAGE} >= @storm.package_esims"
_MANY_OF_FLEET = f"{_OF_FLEET} >= @storm.fleet_esims"
_NEXT_NOTIFICATION = "@routing.storms.group_interval"
_WHICH = "The status page lists them, and so does GET /api/v1/esims?out_of_data=true."
_WORST = (
    '{{ with printf "sort_desc(topk(3, '
    + _OF_PACKAGE
    + '{@target_matchers,vendor=%q}))" @target_values $labels.vendor | query }}'
    " Most of them have {{ range $n, $worst := . }}{{ if $n }}, {{ end }}"
    '{{ $worst | label "package_id" }} ({{ $worst | value | printf "%.0f" }}){{ end }}.{{ end }}'
)
"""The packages with the most of them. Prometheus runs the query for each alert, of which there is
one a vendor."""

OUT_OF_DATA = Group(
    "esim-out-of-data",
    "30s",
    (
        Recording(
            _SHARDS, "count by (job, vendor) (group by (job, vendor, shard) (esim_fleet_esims))"
        ),
        Recording(
            OUT,
            f"""
{OUT} and {ON_ESIM} max by (job, vendor, esim_id) ({_SHOWN})
or {ON_ESIM}
  (max by (job, vendor, esim_id, package_id) ({_SHOWN}) unless {ON_ESIM} {OUT})
  == {ON_ESIM} group_left () max by (job, vendor, esim_id) ({_SHOWN})
or {ON_ESIM} (
  {OUT}
  and on (job, vendor) (
    last_over_time({_SHARDS}[1d])
    unless on (job, vendor) (
      {_SHARDS}
      unless on (job, vendor)
        {_SHARDS} < on (job) group_left () max by (job) (esim_exporter_total_shards)
    )
  )
)
""",
            "An eSIM keeps the time and the package with which it was first seen. Both come from "
            "its last 17 reports, so they change after days. While the exporter or one of its "
            "shards shows nothing, eSIMs stay as they were. So a restart neither ends a page nor "
            "pages again, and a top-up ends a page at once.",
        ),
        Recording(
            _SEEN,
            f"({_SEEN} or {ON_ESIM} 0 * {OUT} + time())\nand {ON_ESIM} {OUT}",
            "When the rules first saw it without data. The clock of the vendor may be wrong, and "
            "events may be late.",
        ),
        Recording(
            _RECENT,
            f"{_SEEN} > time() - @storm.window\nand {ON_ESIM} {OUT} > time() - @page_for",
        ),
        Recording(_OF_PACKAGE, f"count by (job, vendor, package_id) ({_RECENT})"),
        Recording(_OF_FLEET, f"sum by (job, vendor) ({_OF_PACKAGE})"),
        Recording(
            _COVERED,
            f"""
{_COVERED} and {ON_ESIM} {OUT}
or {ON_ESIM} (
  {_RECENT} > time() - @routing.esim_pages.group_wait
  and on (job, vendor, package_id) (
    {_MANY_OF_PACKAGE}
    or {_OF_PACKAGE} and on (job, vendor) {_MANY_OF_FLEET}
  )
)
""",
            "eSIMs that a page about many has told of, for as long as they have no data. An eSIM "
            "that has waited longer than Alertmanager was told of in a page of its own.",
        ),
        Alert(
            "EsimPackageOutOfData",
            Severity.CRITICAL,
            Scope.PACKAGE,
            f"""
{_MANY_OF_PACKAGE}
unless on (job, vendor) (
  count by (job, vendor) ({_MANY_OF_PACKAGE}) > @storm.packages and {_MANY_OF_FLEET}
)
""",
            "Many eSIMs of a package ran out of data.",
            '{{ $value | printf "%.0f" }} eSIMs with package {{ $labels.package_id }} of '
            "{{ $labels.vendor }} ran out of data within the last @storm.window. "
            f"{_WHICH}",
            lists_out_of_data=True,
            keep=_NEXT_NOTIFICATION,
            why="An eSIM may run out just before another one leaves the window. Then the condition "
            "lasts for a moment only. The alert lasts until Alertmanager has told of it, because "
            "no other page tells of that eSIM.",
        ),
        Alert(
            "EsimFleetOutOfData",
            Severity.CRITICAL,
            Scope.FLEET,
            _MANY_OF_FLEET,
            "Many eSIMs of a vendor ran out of data.",
            '{{ $value | printf "%.0f" }} eSIMs of {{ $labels.vendor }} ran out of data within '
            f"the last @storm.window.{_WORST} {_WHICH}",
            lists_out_of_data=True,
            keep=_NEXT_NOTIFICATION,
        ),
        Alert(
            "EsimOutOfData",
            Severity.CRITICAL,
            Scope.ESIM,
            f"{_NEWS}\nunless {ON_ESIM} {_COVERED}",
            "An eSIM has no data left.",
            f"{ESIM_ID} of {{{{ $labels.vendor }}}} has had no data left since "
            "{{ $value | humanizeTimestamp }}. Package {{ $labels.package_id }} ran out last.",
        ),
    ),
    "Alertmanager waits a little before it pages for an eSIM. A page about many, which this group "
    "decides on within that time, takes the place of the page.",
)

OUT_OF_DATA_TICKETS = Group(
    "esim-out-of-data-tickets",
    "4m",
    (
        Alert(
            "EsimOutOfData",
            Severity.WARNING,
            Scope.ESIM,
            f"{OUT} unless {ON_ESIM} (\n  {_NEWS}\n)",
            "An eSIM has had no data left for long.",
            f"{ESIM_ID} of {{{{ $labels.vendor }}}} has had no data left since "
            "{{ $value | humanizeTimestamp }}. Package {{ $labels.package_id }} ran out last.",
            for_="2m",
        ),
    ),
    "Prometheus writes the texts of all alerts at each evaluation. There may be thousands of "
    "tickets, so they are evaluated less often than pages.",
)
