"""A trading process that is killed at a named point, as ``kill -9`` does: ``python -m btx.testing.victim``."""

import contextlib
import importlib
import json
import signal
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from btx.errors import ConfigError
from btx.plugins import offer, offered

if TYPE_CHECKING:
    from btx.testing.hall import World

__all__ = ("kill_at",)

_LONGEST_S = 60.0


def kill_at(world: "World", point: str, *, keep: str) -> None:
    """Let a process buy at its second bar, and die at a point of the order path.

    Raises:
        ConfigError: the adapter is no module that another process could import, or the process ended otherwise.
    """
    name = world.hall.venue.info.name
    plugin = offered(name)
    if plugin is not None and not isinstance(plugin, ModuleType):
        raise ConfigError("the adapter is no module that another process could import")
    job = {
        "venue": name,
        "market": world.hall.market,
        "plugin": plugin.__name__ if plugin is not None else None,
        "control": world.endpoints.control,
        "symbol": world.symbol,
        "point": point,
        "keep": world.journal(keep),
    }
    done = subprocess.run(  # noqa: S603 -- this Python, and this module
        [sys.executable, "-m", "btx.testing.victim", json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        words = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ConfigError(f"it ended with code {done.returncode} and was not killed: {words[0]}")


def _trade(job: dict[str, Any]) -> None:
    from btx import compose, worlds
    from btx.bt.scripted import scripted_cerebro
    from btx.runtime import faultpoints
    from btx.testing.hall import TIMING
    from btx.testing.steps import buy

    with contextlib.ExitStack() as stack:
        if job["plugin"] is not None:
            stack.enter_context(offer(job["venue"], importlib.import_module(job["plugin"])))
        store = compose.load(
            job["venue"],
            env="sim",
            market=job["market"],
            scenario=worlds.scenario(attach=job["control"]),
            keep=job["keep"],
            timing=TIMING,
            limits=None,
        )
        faultpoints.arm(job["point"])
        scripted_cerebro(store, [{"dataname": job["symbol"]}], steps={2: buy("in")}, on_stop="keep", last=10).run()


if __name__ == "__main__":
    _trade(json.loads(sys.argv[1]))
