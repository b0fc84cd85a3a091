"""Speed, memory and scale, measured side by side with other programs that a user could choose.

``python -m benchmarks --help`` explains the command. Nothing here is a test: no figure makes
the command fail. The figures:

- S1, S2: time of a scrape with gzip and without. The peer is nginx, which serves the same bytes
  from a file.
- S3: the same, beside ``prometheus_client`` with the same series.
- S4: time of a scrape for each series, beside a pushgateway.
- S5: time to answer a webhook while scrapes follow each other without a pause.
- S6: the longest time that the event loop stands still during S5.
- S7: durable events per second, beside a bare Quart endpoint that only parses JSON.
- S8: the same, beside a pushgateway that keeps nothing on disk.
- S9: a burst of events over many connections.
- S10: memory for each eSIM, beside gauges of ``prometheus_client`` and a pushgateway.
- S11: time from the start of the process until it is ready.
- S12: how the costs of scrapes, events and expiry change with the size of the fleet.
- S13: time of a scrape, and webhooks beside it, while the fleet changes and right after it.
- S14: time from the start of the process to the first whole scrape.
- S15: how old the text of a scrape is during S13.
- S16: time of sorted lists, filters and the search, and webhooks beside them.
- S17: memory, disk and start for each tombstone that expired eSIMs leave, with both databases.
- R1: durable events per second of replicas on PostgreSQL, beside one process on SQLite.
- R2: disk, start and memory of a large fleet in PostgreSQL, and of one of its shards.
"""

from __future__ import annotations
