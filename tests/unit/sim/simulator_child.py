"""A stand-in for ``btx``: ``python simulator_child.py sim VENUE --json --scenario-json TEXT``.

The venue says how it behaves: ``toy`` serves a world's control channel, the
others misbehave as their name says.
"""

import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from btx.errors import ConfigError
from btx.model.venue import Endpoints, Scenario
from btx.sim.server import run_server, serve_control
from btx.sim.texts import scenario_from_json
from btx.sim.world import World
from tests.unit.sim.toys import LISTINGS


@contextlib.asynccontextmanager
async def toy(scenario: Scenario) -> AsyncIterator[Endpoints]:
    async with World(scenario, LISTINGS) as world, serve_control(world) as control:
        yield Endpoints(
            rest="http://127.0.0.1:1",
            stream="ws://127.0.0.1:1",
            trading_stream="ws://127.0.0.1:1",
            control=control,
            accounts=world.accounts,
            clock=world.clock,
            extra={"not_modelled": "dividends\nweather"},
        )


@contextlib.asynccontextmanager
async def port_taken(scenario: Scenario) -> AsyncIterator[Endpoints]:
    raise OSError(98, "Address already in use")
    yield


def main() -> int:
    venue, scenario = sys.argv[2], scenario_from_json(sys.argv[-1])
    if venue == "crash":
        sys.stderr.write("something broke\n")
        return 70
    if venue == "mute":
        sys.stderr.write("still thinking\n")
        sys.stderr.flush()
        signal.pause()  # until it is killed
    if venue == "babble":
        sys.stdout.write("hello there\n")
        return 0
    if venue == "deaf":
        run_deaf(scenario)
    simulator = port_taken if venue == "port_taken" else toy
    try:
        return run_server(simulator, scenario, json_line="--json" in sys.argv, detach="--detach" in sys.argv)
    except ConfigError as error:
        sys.stderr.write(f"btx: {error}\n")
        return 2


def run_deaf(scenario: Scenario) -> None:
    """Say where it listens, and never end by itself."""
    import asyncio

    from btx.sim.texts import endpoints_to_json

    async def say() -> None:
        async with toy(scenario) as endpoints:
            sys.stdout.write(endpoints_to_json(endpoints) + "\n")
            sys.stdout.flush()

    asyncio.run(say())
    signal.pause()


if __name__ == "__main__":
    sys.exit(main())
