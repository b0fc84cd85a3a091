"""Expressions about a whole fleet that several processes show.

One or more replicas show the same shard. With several shards, series of the group ``fleet`` have
the label ``shard``. So a value of the fleet is the greatest value over the replicas of a shard,
summed over shards. The same expression works for one process.

Every expression names the labels that it keeps. Labels of targets, such as ``instance`` or
``zone``, can differ between replicas. An aggregation that keeps unknown labels would count an eSIM
once for each replica. ``MixinValues.target_labels`` names the labels that users want to keep.
"""

from __future__ import annotations

SHOWN = "group without (vendor, status) (esim_fleet_esims)"
"""1 for each process that shows a part of the fleet, with its label ``shard``."""


def by(*labels: str) -> str:
    """Return the end of an aggregation that keeps the installation and these labels."""
    return f"by ({', '.join(('job', *labels))})"


def fleet_sum(series: str, *labels: str, replicas: str = "max") -> str:
    """Return the sum over shards. ``max`` or ``min`` chooses the value among a shard's replicas."""
    return f"sum {by(*labels)} ({replicas} {by(*labels, 'shard')} ({series}))"


def fleet_rise(selector: str, window: str, *labels: str, apart: tuple[str, ...] = ()) -> str:
    """Return the rise of a metric within ``window``: the sum of the rises of all shards.

    The result has ``labels``. ``apart`` names further labels of the metric whose rises are summed.

    The counters of the group ``fleet`` are stored, and a replica that restarts continues them. So
    the greatest value over replicas can be compared at two moments. ``increase()`` of each replica
    would lose what arrived while its pod had another name.

    The difference is taken in each shard first. So a shard that is missing at one of the two
    moments adds nothing, and the others still count. When the number of shards changes, eSIMs move
    between shards. There is no result until the whole window lies after such a change.
    """
    highest = f"max {by(*labels, *apart, 'shard')}"
    return f"""
sum {by(*labels)} (
  {highest} ({selector})
    - {highest} ({selector} offset {window})
)
{resharded(window)}
""".strip()


def resharded(window: str) -> str:
    """Return the end of an expression that needs the same number of shards in the whole window.

    It compares the greatest and the least number that any process had within the window. So it
    also notices a change that was taken back. A process on a SQLite file shows no such number, so
    its expression always has a result.
    """
    shards = f"_over_time(esim_exporter_total_shards[{window}])"
    return f"unless on (job) max {by()} (max{shards}) != min {by()} (min{shards})"


def sum_of_processes(gauge: str) -> str:
    """Return the sum over shards of a gauge that each process shows for its own eSIMs.

    Such a gauge has no label ``shard``. The expression takes the label from the group ``fleet`` of
    the same scrape.
    """
    return fleet_sum(f"\n  {gauge}\n    * ignoring (shard) group_left (shard) {SHOWN}\n")
