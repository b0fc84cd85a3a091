"""Speed, memory and scale, measured side by side with what a user could pick instead.

``python -m benchmarks --help`` explains the command. Nothing here is a test: no figure makes
the command fail. The figures:

- S1, S2: a scrape, gzip and identity, beside nginx that serves the same bytes from a file; S3
  beside ``prometheus_client`` with the same series; S4 beside a pushgateway, for each series.
- S5: how long a webhook takes while scrapes come back to back; S6: how long the event loop
  stands still meanwhile, seen from inside and by a client.
- S7: durable events a second beside a bare Quart endpoint that parses JSON; S8 beside a
  pushgateway that keeps nothing; S9: a burst of events over many connections.
- S10: memory for each eSIM, beside gauges of ``prometheus_client`` and a pushgateway; S11: from
  the start to ready; S12: how scrapes, events and expiry grow with the fleet.
- R1: durable events a second of replicas on PostgreSQL, beside one process on SQLite; R2: size,
  start and memory of a large fleet in PostgreSQL, and of one shard of it.
"""

from __future__ import annotations
