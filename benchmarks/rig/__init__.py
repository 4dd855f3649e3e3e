"""What the benchmarks share: a simulator that notes when things pass its sockets, and a way to print."""

from rig.report import Sample, bound, facts, latencies, ratio
from rig.simulator import Simulator, store_on, tapped_simulator

__all__ = ("Sample", "Simulator", "bound", "facts", "latencies", "ratio", "store_on", "tapped_simulator")
