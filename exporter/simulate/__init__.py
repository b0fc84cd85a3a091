"""A synthetic fleet that behaves as the vendor does: seeded, and signed when sent.

As a library: :class:`Simulation` yields deliveries in simulated time, without clock
or I/O. As a sender: :func:`run`, and the subcommand in :mod:`exporter.simulate.command`.
"""

from __future__ import annotations

from exporter.simulate.client import DEFAULT_URL, Options, run
from exporter.simulate.command import add_arguments, main
from exporter.simulate.delivery import NO_FAULTS, Delivery, Fault, Faults, Simulation
from exporter.simulate.fleet import Fleet, Phase
from exporter.simulate.progress import Summary

__all__ = [
    "DEFAULT_URL",
    "NO_FAULTS",
    "Delivery",
    "Fault",
    "Faults",
    "Fleet",
    "Options",
    "Phase",
    "Simulation",
    "Summary",
    "add_arguments",
    "main",
    "run",
]
