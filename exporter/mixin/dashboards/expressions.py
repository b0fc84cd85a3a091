"""Expressions about a fleet that several processes show."""

from __future__ import annotations


def per_shard(series: str, *labels: str, of_replicas: str = "max") -> str:
    """Return one value for each shard: the greatest, or another, of those of its replicas.

    It keeps the labels that are named, and none of the other labels of targets. So two replicas in
    two zones are not counted twice. With one process, the labels of replicas and shards are absent.
    """
    return f"{of_replicas} by ({', '.join(['job', 'shard', *labels])}) ({series})"


def report_interval() -> str:
    """Return the seconds between two reports of an eSIM, by vendor.

    There is none for a vendor that reports at thresholds only.
    """
    return "max by (vendor) (esim_exporter_vendor_report_interval_seconds{@fleet})"


def sum_of_processes(gauge: str) -> str:
    """Return the sum over shards of a gauge that each process shows.

    Such a gauge has no label ``shard``. The expression takes it from the group ``fleet`` of the
    same scrape.
    """
    shard = "group without (vendor, status) (esim_fleet_esims{@exporter})"
    shown = f"{gauge} * ignoring (shard) group_left (shard) {shard}"
    return f"sum({per_shard(shown)})"
