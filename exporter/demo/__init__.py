"""``esim-exporter demo``: the exporter, a simulated fleet and monitoring, on one machine."""
