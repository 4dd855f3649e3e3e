"""The rig of these tests on a market on margin: the toy venue keeps wallets and positions by the rules of btx."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import attrs

from btx.bt.store import LiveStore
from btx.config import Settings
from btx.model.account import AccountSnapshot, AccountUpdate, Balance, Booking, BookingKind, KeyRights
from btx.model.derivatives import LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import (
    Fill,
    Leg,
    Liquidity,
    OrderReport,
    OrderRequest,
    OrderType,
    Origin,
    PositionSide,
    Side,
    Status,
)
from btx.model.venue import Environment, VenueInfo
from btx.plugins import Venue, new_manager
from btx.rules.contracts import notional
from btx.rules.money import booked
from btx.rules.wallet import MarginAccount, Terms, apply_booking, apply_fill, apply_mark, with_terms
from btx.runtime.margining import AS_IT_IS, Margining
from btx.runtime.session import Session
from tests.toy_venue import FEES, ToyOrder, ToyPlugin
from tests.unit.bt.rig import _CAPABLE, _QUICK, INFO, Rig, Toy, _no_simulator
from tests.values import BTC

PERP = attrs.evolve(
    BTC, symbol="BTC/USDT:USDT", kind=InstrumentKind.LINEAR, step_size=Decimal("0.001"), min_quantity=Decimal("0.001")
)
COIN = attrs.evolve(
    BTC,
    symbol="BTC/USD:BTC",
    venue_symbol="BTCUSD_PERP",
    kind=InstrumentKind.INVERSE,
    quote="USD",
    settle="BTC",
    multiplier=Decimal(100),
    step_size=Decimal(1),
    min_quantity=Decimal(1),
    min_notional=None,
)
FOR_EVER = SimpleNamespace(ref=-1, alive=lambda: True)  # what a step waits for that something else will end
HEDGED = Margining(leverage=5, position_mode=PositionMode.HEDGE)
FIVE_TIMES = Margining(leverage=5)
ONE_WAY = Margining(leverage=5, position_mode=PositionMode.ONE_WAY)


def info_of(market: str) -> VenueInfo:
    can = attrs.evolve(
        _CAPABLE,
        order_types=frozenset(OrderType) - {OrderType.TRAILING_STOP},
        margined=True,
        reduce_only=True,
        position_modes=frozenset(PositionMode),
        margin_modes=frozenset(MarginMode),
        currency="BTC" if market == "coinm" else "USDT",
    )
    return attrs.evolve(INFO, markets=("spot", market), capabilities={"spot": _CAPABLE, market: can})


class MarginToy(Toy):
    """The toy venue with positions on margin; its wallet and its positions are its own count."""

    def __init__(self, *instruments: Instrument, margining: Margining = AS_IT_IS) -> None:
        super().__init__(instruments=instruments or (PERP,))
        self.balances = {"USDT": Decimal(10_000), "BTC": Decimal(10)}
        self.state = MarginAccount(wallets=dict(self.balances))
        self.mode = margining.position_mode or PositionMode.ONE_WAY
        self.booked: list[Booking] = []
        for each in instruments or (PERP,):
            self.state = with_terms(self.state, Terms(instrument=each, leverage=margining.leverage or 1))

    def hold(self, instrument: Instrument, quantity: str, price: str, leg: PositionSide = PositionSide.NET) -> None:
        """Have a position from before."""
        self._count(self._fill(instrument, Decimal(quantity), Decimal(price), leg, fee=Decimal(0), client_order_id="x"))

    def close(self, minute: int, **changes: Any) -> None:
        for symbol in self.listed:
            super().close(minute, **{"symbol": symbol, **changes})

    def execute(
        self,
        client_order_id: str,
        quantity: Decimal | int | str,
        price: Decimal | None = None,
        origin: Origin = Origin.CLIENT,
    ) -> None:
        order = self.orders[client_order_id]
        request = order.leg.request
        size, price = Decimal(quantity) * request.side.sign, price or request.price or self.price
        fee = booked(notional(request.instrument, size, price) * FEES.taker)
        fill = self._fill(
            request.instrument, size, price, request.position_side, fee=fee, client_order_id=client_order_id
        )
        order.fills.append(attrs.evolve(fill, venue_order_id=order.order_id, origin=origin))
        order.status = Status.FILLED if order.filled >= order.leg.quantity else Status.PARTIALLY_FILLED
        self._count(order.fills[-1])
        if self.fee_asset is None:  # it is taken, and not told yet
            order.fills[-1] = attrs.evolve(order.fills[-1], fee=None, fee_asset=None)
        self._tell(self.balance_update(), order.fills[-1], attrs.evolve(self.report(order), origin=origin))

    def report(self, order: ToyOrder, *, sequence: int | None = None) -> OrderReport:
        asked = order.leg.request
        told = super().report(order, sequence=sequence)
        return attrs.evolve(told, position_side=asked.position_side, reduce_only=asked.reduce_only)

    def take_over(self, instrument: Instrument, origin: Origin) -> None:
        """Close what is held by an order of the exchange's own."""
        (position,) = self.state.of_symbol(instrument.symbol)
        request = OrderRequest(
            instrument=instrument,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=abs(position.quantity),
            price=self.price,
            position_side=position.position_side,
            signal_ns=self.now_ns,
        )
        leg = Leg(client_order_id=f"autoclose-{len(self.orders)}", request=request, quantity=request.quantity)
        order = self.orders[leg.client_order_id] = ToyOrder(leg=leg, order_id=f"x{len(self.orders)}")
        self._tell(attrs.evolve(self.report(order), origin=origin))
        self.execute(leg.client_order_id, leg.quantity, origin=origin)

    def book(self, kind: BookingKind, amount: str, asset: str = "USDT", symbol: str | None = "BTC/USDT:USDT") -> None:
        """Move money otherwise than by a fill."""
        booking = Booking(
            booking_id=str(len(self.booked)),
            kind=kind,
            asset=asset,
            amount=Decimal(amount),
            symbol=symbol,
            time_ns=self.now_ns,
        )
        self.booked.append(booking)
        self.state = apply_booking(self.state, booking)
        self._tell(attrs.evolve(self.balance_update(), reason=kind.value))

    def balance_update(self) -> AccountUpdate:
        balances = {asset: Balance(free=total, locked=Decimal(0)) for asset, total in self.state.wallets.items()}
        positions = tuple(each.report(time_ns=self.now_ns) for each in self.state.positions.values())
        return AccountUpdate(balances=balances, positions=positions, reason="ORDER", time_ns=self.now_ns)

    async def account(self) -> AccountSnapshot:
        await self._request("account", None)
        update = self.balance_update()
        return AccountSnapshot(
            balances=update.balances, positions=update.positions, position_mode=self.mode, time_ns=update.time_ns
        )

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        return {}

    async def key_rights(self) -> KeyRights:
        return KeyRights()

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        tier = LeverageTier(floor=Decimal(0), max_leverage=125, maintenance_rate=Decimal("0.004"))
        return {each.symbol: (tier,) for each in instruments}

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        self.state = with_terms(self.state, attrs.evolve(self.state.terms[instrument.symbol], leverage=leverage))

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        self.state = with_terms(self.state, attrs.evolve(self.state.terms[instrument.symbol], margin_mode=mode))

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        self.mode = mode

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        return [each for each in self.booked if each.time_ns >= start_ns]

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        return MarkPrice(symbol=instrument.symbol, mark_price=self.price, time_ns=self.now_ns)

    def _fill(
        self, instrument: Instrument, change: Decimal, price: Decimal, leg: PositionSide, *, fee: Decimal, **names: str
    ) -> Fill:
        return Fill(
            fill_id=str(next(self._trade_ids)),
            symbol=instrument.symbol,
            side=Side.BUY if change > 0 else Side.SELL,
            price=price,
            quantity=abs(change),
            fee=fee,
            fee_asset=instrument.settle,
            liquidity=Liquidity.TAKER,
            position_side=leg,
            time_ns=self.now_ns,
            sequence=self._next(),
            origin=Origin.CLIENT,
            **names,
        )

    def _count(self, fill: Fill) -> None:
        done = apply_fill(self.state, fill)
        self.state = done.account
        fills = self.orders[fill.client_order_id].fills if fill.client_order_id in self.orders else []
        if fills:
            fills[-1] = attrs.evolve(fills[-1], realised=done.realised)


class MarginRig(Rig):
    """One store on the toy's market on margin, in one cerebro."""

    def __init__(
        self,
        toy: MarginToy,
        *,
        market: str = "usdm",
        margining: Margining = FIVE_TIMES,
        session: type[Session] = Session,
    ) -> None:
        super().__init__(toy, store=margin_store(toy, market=market, margining=margining, session=session))


def margin_store(
    toy: MarginToy,
    *,
    market: str = "usdm",
    margining: Margining = FIVE_TIMES,
    session: type[Session] = Session,
) -> LiveStore:
    info = info_of(market)
    manager = new_manager()
    manager.register(ToyPlugin(toy, info=info), name="venue toy")
    made = session(
        venue=Venue(manager, info),
        environment=Environment.SIM,
        market=market,
        settings=Settings(currency=info.capabilities[market].currency),
        endpoints=_no_simulator,
        timing=attrs.evolve(_QUICK, grace_drift_s=0.01),
        margining=margining,
    )
    return LiveStore(made)


def on_margin(
    *instruments: Instrument, market: str = "usdm", margining: Margining = FIVE_TIMES, **data: Any
) -> MarginRig:
    """Return a rig with a data of each instrument."""
    listed = instruments or (PERP,)
    rig = MarginRig(MarginToy(*listed, margining=margining), market=market, margining=margining)
    for each in listed:
        rig.add(each.symbol, **data)
    return rig


def agree(rig: MarginRig) -> None:
    """See that the broker's wallet, positions and worth are the venue's, to the last digit."""
    toy, mine = rig.toy, next(iter(rig.broker._accounts.values())).state
    assert isinstance(toy, MarginToy)
    assert rig.broker.ledger() == toy.state.wallets
    assert {key: each.quantity for key, each in mine.positions.items()} == {
        key: each.quantity for key, each in toy.state.positions.items()
    }
    assert {key: each.book.cost for key, each in mine.positions.items()} == {
        key: each.book.cost for key, each in toy.state.positions.items()
    }


def marked(toy: MarginToy, symbol: str, price: str) -> MarginAccount:
    """Return what the account would be at a mark price."""
    return apply_mark(toy.state, symbol, Decimal(price))
