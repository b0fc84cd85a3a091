"""The command ``esim-exporter demo``: everything together on one machine, to look around."""
