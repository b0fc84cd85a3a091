"""Build the exporter from its settings, run it, and stop it."""
