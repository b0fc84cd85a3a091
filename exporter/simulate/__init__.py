"""A synthetic fleet that behaves as the vendor does: seeded, and signed when sent.

As a library: :class:`Simulation` yields deliveries in simulated time, without clock
or I/O. As a sender: :func:`run`, and the subcommand in :mod:`exporter.simulate.command`.
"""

from __future__ import annotations

from exporter.simulate.command import add_arguments, main
from exporter.simulate.delivery import NO_FAULTS, Fault, Faults, SimulatedDelivery, Simulation
from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.simulate.progress import Summary
from exporter.simulate.sender import DEFAULT_URL, Options, run

__all__ = [
    "DEFAULT_URL",
    "NO_FAULTS",
    "Fault",
    "Faults",
    "Options",
    "Phase",
    "SimulatedDelivery",
    "SimulatedFleet",
    "Simulation",
    "Summary",
    "add_arguments",
    "main",
    "run",
]
