"""Expressions about all of a fleet that several processes show.

Each shard shows its part, with the label ``shard`` where there are several, and one replica or
more show the same shard. So the fleet is the sum over shards of the most over replicas; one
process alone is the same with nothing to add up. What is the same in every shard, such as the
balance at the vendor, is the most over both: ``max without (instance, pod, shard)``.
"""

from __future__ import annotations

SHOWN = "group without (vendor, status) (esim_fleet_esims)"
"""1 for each process that shows a part of the fleet, with the shard of it."""


def whole(series: str, replicas: str = "max") -> str:
    """Return the sum over shards of the most, or the least, that a replica of each shows."""
    return f"sum without (shard) ({replicas} without (instance, pod) ({series}))"


def delta(selector: str, window: str, without: str = "shard") -> str:
    """Return by how much something has risen in each shard within ``window``, added up.

    The counters of the group ``fleet`` are stored. A replica that starts again goes on where
    it was, so that the most over replicas at two moments can be compared; ``increase()`` of
    each replica would lose what came while its pod had another name.

    By shard first: one that is not shown at either moment then adds nothing, while the others
    go on. With another number of shards eSIMs have moved between them, and there is no answer
    until all of the window is later than that.
    """
    highest = "max without (instance, pod)"
    return f"""
sum without ({without}) (
  {highest} ({selector})
    - {highest} ({selector} offset {window})
)
{resharded(window)}
""".strip()


def resharded(window: str) -> str:
    """Return what ends an expression that means nothing across a change of the shards' number.

    The mean over replicas tells: as long as only some have the new number it is neither of
    the two. One process on a storage of its own shows none, and has nothing to compare.
    """
    shards = "avg without (instance, pod) (esim_exporter_total_shards"
    return f"unless on (job) {shards}) != {shards} offset {window})"


def kept(gauge: str) -> str:
    """Return the sum over shards of what each process says of the eSIMs it keeps.

    Metrics of the process bear no label ``shard``; the group ``fleet`` of the same scrape does.
    """
    return whole(f"\n  {gauge}\n    * ignoring (shard) group_left (shard) {SHOWN}\n")
