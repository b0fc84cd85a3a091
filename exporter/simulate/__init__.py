"""``esim-exporter simulate``: a synthetic fleet, and the deliveries that the vendor would send."""
