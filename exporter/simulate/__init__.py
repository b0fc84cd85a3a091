"""A synthetic fleet and the deliveries that the vendor would send about it.

:class:`Simulation` yields the deliveries in simulated time, without a clock and without I/O.
:func:`run` signs and sends them; the subcommand ``simulate`` calls it.
"""

from __future__ import annotations

from exporter.simulate.command import add_arguments, main
from exporter.simulate.deliveries import NO_FAULTS, Fault, Faults, SimulatedDelivery, Simulation
from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.simulate.progress import SenderSummary
from exporter.simulate.sender import DEFAULT_URL, SenderOptions, run

__all__ = [
    "DEFAULT_URL",
    "NO_FAULTS",
    "Fault",
    "Faults",
    "Phase",
    "SenderOptions",
    "SenderSummary",
    "SimulatedDelivery",
    "SimulatedFleet",
    "Simulation",
    "add_arguments",
    "main",
    "run",
]
