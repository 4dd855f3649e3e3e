"""What the benchmarks share: a simulator that notes when things pass its sockets, and a way to print."""

from rig.report import Sample, bound, facts, latencies, ratio, resident_mib
from rig.simulator import Simulator, simulator_addresses, store_at, store_on, tapped_simulator

__all__ = (
    "Sample",
    "Simulator",
    "bound",
    "facts",
    "latencies",
    "ratio",
    "resident_mib",
    "simulator_addresses",
    "store_at",
    "store_on",
    "tapped_simulator",
)
