"""Settings from flags, environment variables, a YAML file and defaults."""

from __future__ import annotations

from typing import Final

ENVIRONMENT_PREFIX: Final = "ESIM_EXPORTER_"
"""Start of the name of every environment variable."""
