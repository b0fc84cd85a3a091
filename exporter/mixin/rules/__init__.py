"""Recording and alerting rules for Prometheus, one module per group of alerts."""
