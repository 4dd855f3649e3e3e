"""The adapter's ports on a simulated OpenD in this process's loop."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import attrs

from btx.config import Secret, Settings
from btx.model.order import Leg, OrderRequest, OrderType, Side, TimeInForce
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Endpoints, Environment, Scenario
from btx.ports import Context
from btx.runtime.control import Control
from btx_futu.broker import FutuBroker
from btx_futu.feed import FutuFeed
from btx_futu.sim.app import simulator
from btx_futu.store import FutuStore
from btx_futu.stream import FutuStream


class Clock:
    """Both clocks stand where the market began."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def wire_ns(self) -> int:
        return self.now_ns

    def market_ns(self) -> int:
        return self.now_ns


@attrs.define(kw_only=True)
class Rig:
    """One session."""

    context: Context
    control: Control
    endpoints: Endpoints
    store: FutuStore
    broker: FutuBroker
    feed: FutuFeed
    stream: FutuStream

    async def leg(self, name: str, **changes: Any) -> Leg:
        share = (await self.store.instruments(symbols=["HK.00700"]))["HK.00700"]
        request = OrderRequest(
            **{
                "instrument": share,
                "side": Side.BUY,
                "order_type": OrderType.MARKET,
                "time_in_force": TimeInForce.DAY,
                "quantity": share.step_size,
                "signal_ns": self.context.clock.market_ns(),
                **changes,
            }
        )
        return Leg(client_order_id=name, request=request, quantity=request.quantity)

    async def faults(self, *faults: dict[str, Any]) -> None:
        await self.control.ask("faults", script={"faults": list(faults)})


@contextlib.asynccontextmanager
async def session(**changes: Any) -> AsyncIterator[Rig]:
    """Serve a morning in Hong Kong, and talk to it."""
    scenario = Scenario(**{"symbols": ("HK.00700",), "until_ns": NS_PER_HOUR, "warmup_ns": NS_PER_HOUR, **changes})
    async with simulator(scenario) as endpoints, AsyncExitStack() as resources:
        control = await Control.connect(endpoints.control)
        resources.push_async_callback(control.close)
        context = Context(
            settings=Settings(api_key=Secret(endpoints.accounts[0].api_key)),
            environment=Environment.SIM,
            market="hk",
            endpoints=endpoints,
            clock=Clock(endpoints.clock.market_origin_ns),
            resources=resources,
        )
        yield Rig(
            context=context,
            control=control,
            endpoints=endpoints,
            store=FutuStore(context),
            broker=FutuBroker(context),
            feed=FutuFeed(context),
            stream=FutuStream(context),
        )
