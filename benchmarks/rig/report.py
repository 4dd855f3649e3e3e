"""Machine facts, percentiles, tables: plain text on standard output."""

import faulthandler
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

__all__ = ("Sample", "bound", "facts", "latencies", "ratio", "resident_mib")

_DISTRIBUTIONS = ("btx-core", "btx-binance", "backtrader", "ccxt", "cryptofeed", "websockets", "aiohttp")


@attrs.frozen(kw_only=True)
class Sample:
    """Latencies of one case, in milliseconds."""

    name: str
    latencies_ms: Sequence[float]

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.latencies_ms)

    @property
    def p99(self) -> float:
        """What one in a hundred is above."""
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[98]


def bound(timeout_s: float) -> None:
    """End the process with its stacks printed if it is not done by then: a benchmark never hangs."""
    faulthandler.dump_traceback_later(timeout_s, exit=True)


def facts(title: str) -> None:
    """Print what is measured, on what machine, with which versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _DISTRIBUTIONS)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(title)
    print(f"  {os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}, load {load}")
    print(f"  {platform.python_implementation()} {platform.python_version()}; {versions}")
    print()


def resident_mib() -> float:
    """Return how much memory of this process is resident now, in MiB; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def latencies(samples: Iterable[Sample]) -> None:
    """Print a table of latencies."""
    print(f"{'':44} {'n':>6} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}")
    for each in samples:
        worst = max(each.latencies_ms)
        print(f"{each.name:44} {len(each.latencies_ms):6} {each.p50:9.3f} {each.p99:9.3f} {worst:9.3f}")


def ratio(name: str, ours: Sample, baseline: Sample) -> str:
    """Return how many times the baseline we take, at the median and at the 99th percentile."""
    return f"{name} p50 {ours.p50 / baseline.p50:.1f}x p99 {ours.p99 / baseline.p99:.1f}x"
