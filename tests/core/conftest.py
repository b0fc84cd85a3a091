from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "core",
    deadline=None,  # the machine may be busy with other tests
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # likewise
)
settings.load_profile("core")
