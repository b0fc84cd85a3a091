"""Rules, routes and dashboards, written for the values of a user: ``esim-exporter mixin``."""
