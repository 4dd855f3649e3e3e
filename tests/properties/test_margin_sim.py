"""A margin exchange under anything: no money comes or goes, and it is the account model of the rules."""

from decimal import Decimal

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.account import Booking, BookingKind
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, PositionMode
from btx.model.order import Fill, OrderType, PositionSide, Side
from btx.rules import wallet
from btx.sim.conditionals import ConditionalEvent, ConditionalState, SimConditional
from btx.sim.margin_events import AccountEvent
from btx.sim.orders import ExecutionEvent, ExecutionKind, NewOrder, PriceKind, Refused, SimFill, SimPosition
from btx.sim.paper_ledger import Opening, opening_line
from btx.sim.paper_margin_ledger import Scribe, read_margin_lines
from tests.unit.sim.margin_toys import COIN, PERP, MarginFloor, listing
from tests.unit.sim.toys import KEY, OTHER_KEY, START_NS, account

OTHER_PERP = attrs.evolve(PERP, symbol="ETH/USDT:USDT", venue_symbol="ETHUSDT", base="ETH")
LISTED = {PERP.settle: (PERP, OTHER_PERP), COIN.settle: (COIN,)}
TIERS = (
    LeverageTier(floor=Decimal(0), cap=Decimal(500), max_leverage=50, maintenance_rate=Decimal("0.01")),
    LeverageTier(
        floor=Decimal(500),
        max_leverage=20,
        maintenance_rate=Decimal("0.025"),
        maintenance_amount=Decimal("7.5"),
    ),
)
prices = st.decimals(min_value=94, max_value=106, places=2)  # at 20-fold leverage that is far
quantities = st.integers(min_value=1, max_value=9).map(Decimal)
keys = st.sampled_from([KEY, OTHER_KEY])
sides = st.sampled_from(list(Side))
orders = st.tuples(
    st.just("order"),
    keys,
    sides,
    quantities,
    prices,
    st.sampled_from(
        [
            OrderType.MARKET,
            OrderType.MARKET,
            OrderType.LIMIT,
            OrderType.STOP_MARKET,
            OrderType.TAKE_PROFIT_LIMIT,
            OrderType.TRAILING_STOP,
        ]
    ),
    st.sampled_from([False, False, True]),
    st.sampled_from(list(PriceKind)),
    st.sampled_from([PositionSide.LONG, PositionSide.SHORT]),
)
steps = st.lists(
    orders
    | orders
    | orders
    | st.tuples(st.just("mark"), prices)
    | st.tuples(st.just("trade"), prices, quantities)
    | st.tuples(st.just("mark"), prices)
    | st.tuples(st.just("funding"), st.decimals(min_value="-0.05", max_value="0.05", places=8))
    | st.tuples(st.just("pay"), keys, st.decimals(min_value=-50, max_value=50, places=8))
    | st.tuples(st.just("cancel"), keys)
    | st.tuples(st.just("turn"), st.sampled_from([0, 1])),
    min_size=12,
    max_size=40,
)


class Lines(list[str]):
    """A ledger in memory."""

    def write(self, line: str) -> None:
        self.append(line + "\n")


class Mirror:
    """The account model of the rules, told nothing but what a listener hears."""

    def __init__(self, floor: MarginFloor, api_key: str) -> None:
        self.floor, self.api_key = floor, api_key
        self.symbols = {each.venue_symbol: each.symbol for each in floor.listed}
        start = floor.exchange.balances(api_key=api_key)
        self.model = wallet.MarginAccount(wallets={asset: balance.total for asset, balance in start.items()})
        for instrument in floor.listed:
            symbol = instrument.venue_symbol
            mode = floor.exchange.margin_mode(api_key=api_key, venue_symbol=symbol)
            terms = wallet.Terms(instrument=instrument, tiers=TIERS, leverage=20, margin_mode=mode)
            mark = floor.exchange.mark(symbol).mark_price
            self.model = wallet.apply_mark(wallet.with_terms(self.model, terms), instrument.symbol, mark)
        self.held: dict[tuple[str, PositionSide], Decimal] = {}
        self.triggered: set[int] = set()

    def hear(self, event: object) -> None:
        if event.api_key != self.api_key:
            return
        match event:
            case ExecutionEvent(kind=ExecutionKind.TRADE):
                self.model = wallet.apply_fill(
                    self.model, fill_of(event.fill, self.symbols[event.fill.venue_symbol])
                ).account
                self.check_fill(event.fill, event.position, only_reduces=event.order.reduce_only)
            case AccountEvent():
                for booking in event.bookings:
                    if booking.kind not in {BookingKind.FEE, BookingKind.REALISED}:
                        self.model = wallet.apply_booking(
                            self.model,
                            Booking(
                                booking_id=str(booking.booking_id),
                                kind=booking.kind,
                                asset=booking.asset,
                                amount=booking.amount,
                                symbol=self.symbols.get(booking.venue_symbol),
                                time_ns=booking.time_ns,
                            ),
                            event.positions[0].position_side if event.positions else PositionSide.NET,
                        )
            case ConditionalEvent() if event.conditional.state is ConditionalState.TRIGGERING:
                assert event.conditional.conditional_id not in self.triggered
                self.triggered.add(event.conditional.conditional_id)

    def check_fill(self, fill: SimFill, after: SimPosition, *, only_reduces: bool) -> None:
        before = self.held.get(after.key, Decimal(0))
        self.held[after.key] = after.quantity
        assert after.quantity == before + fill.side.sign * fill.quantity
        if only_reduces:
            assert abs(after.quantity) < abs(before)
            assert after.quantity * before >= 0

    def check(self) -> None:
        """Compare every figure."""
        asset = self.floor.instrument.settle
        view = self.floor.exchange.wallet(api_key=self.api_key, asset=asset)
        assert self.model.wallet(asset) == view.wallet
        assert self.model.equity(asset) == view.margin_balance
        assert self.model.cross_wallet(asset) == view.cross_wallet
        assert self.model.available(asset, view.order_margin) == view.available
        assert not any(wallet.liquidated(self.model, symbol) for symbol in self.symbols.values())


def fill_of(fill: SimFill, symbol: str) -> Fill:
    return Fill(
        fill_id=str(fill.trade_id),
        client_order_id=fill.client_order_id,
        symbol=symbol,
        side=fill.side,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        time_ns=fill.time_ns,
        position_side=fill.position_side,
        realised=fill.realised,
        origin=fill.origin,
    )


def new_order(step: tuple, *, is_hedged: bool) -> NewOrder:
    _, _, side, quantity, price, order_type, reduces, trigger_by, position_side = step
    waits = order_type not in {OrderType.LIMIT, OrderType.MARKET}
    has_limit = order_type in {OrderType.LIMIT, OrderType.TAKE_PROFIT_LIMIT}
    return NewOrder(
        venue_symbol="",
        side=side,
        order_type=order_type,
        quantity=quantity,
        price=price if has_limit else None,
        trigger_price=price if waits else None,
        trail_bps=300 if order_type is OrderType.TRAILING_STOP else None,
        trigger_by=trigger_by,
        reduce_only=reduces and not is_hedged,
        position_side=position_side if is_hedged else PositionSide.NET,
    )


def play(floor: MarginFloor, mirrors: list[Mirror], step: tuple, *, is_hedged: bool) -> None:
    exchange = floor.exchange
    match step:
        case ("order", api_key, *_):
            floor.place(new_order(step, is_hedged=is_hedged), api_key)
        case ("trade", price, quantity):
            floor.trade(price, quantity)
        case ("mark", price):
            expected = {}
            for mirror in mirrors:
                mirror.model = wallet.apply_mark(mirror.model, floor.instrument.symbol, price)
                due = (wallet.liquidated(mirror.model, symbol) for symbol in mirror.symbols.values())
                expected[mirror.api_key] = any(due)
            before = len(floor.events)
            conditionals = any(exchange.open_conditionals(api_key=key) for key in (KEY, OTHER_KEY))
            floor.mark(price)
            closed = {
                event.api_key
                for event in floor.events[before:]
                if isinstance(event, ExecutionEvent) and event.order.client_order_id.startswith("autoclose")
            }
            if not conditionals and mirrors:  # what they trade at this moment comes first
                assert closed == {api_key for api_key, is_due in expected.items() if is_due}
        case ("funding", rate):
            floor.marks.coming = [
                FundingRate(symbol=floor.instrument.symbol, time_ns=floor.now_ns + 1, rate=rate, mark_price=None)
            ]
            floor.mark(floor.marks.price)
        case ("pay", api_key, amount) if amount:
            exchange.transfer(api_key=api_key, asset=floor.instrument.settle, amount=amount, now_ns=floor.now_ns)
        case ("turn", number):
            floor.turn_to(floor.listed[number % len(floor.listed)])
        case ("cancel", api_key):
            exchange.cancel_all(api_key=api_key, venue_symbol=floor.symbol, now_ns=floor.now_ns)


def new_floor(instrument: object, *, isolated: bool, is_hedged: bool, insurance: int) -> MarginFloor:
    money = {instrument.settle: 100 if instrument is PERP else 1}
    floor = MarginFloor(
        account(**money),
        account(OTHER_KEY, **money),
        listings=[listing(each, tiers=TIERS) for each in LISTED[instrument.settle]],
        insurance=insurance,
    )
    for api_key in (KEY, OTHER_KEY):
        if isolated:  # the first contract; another stays crossed
            floor.exchange.set_margin_mode(
                api_key=api_key, venue_symbol=floor.symbol, mode=MarginMode.ISOLATED, now_ns=floor.now_ns
            )
        if is_hedged:
            floor.exchange.set_position_mode(api_key=api_key, mode=PositionMode.HEDGE, now_ns=floor.now_ns)
    return floor


@settings(max_examples=250)
@given(
    steps=steps,
    instrument=st.sampled_from([PERP, COIN]),
    isolated=st.booleans(),
    is_hedged=st.booleans(),
    insurance=st.sampled_from([0, 1_000_000]),
)
def test_no_money_comes_or_goes_and_the_model_of_the_rules_knows_all_of_it(
    steps: list[tuple], instrument: object, isolated: bool, is_hedged: bool, insurance: int
) -> None:
    floor = new_floor(instrument, isolated=isolated, is_hedged=is_hedged, insurance=insurance)
    exchange = floor.exchange
    owned = {api_key: floor.wallet(instrument.settle, api_key) for api_key in (KEY, OTHER_KEY)}
    mirrors = [Mirror(floor, api_key) for api_key in (KEY, OTHER_KEY)]
    floor.listeners += [mirror.hear for mirror in mirrors]

    for step in steps:
        try:
            play(floor, mirrors, step, is_hedged=is_hedged)
        except Refused:
            continue
        assert floor.total(instrument.settle) == 0
        if step[0] in {"mark", "funding"}:
            for mirror in mirrors:
                mirror.check()
    for api_key in (KEY, OTHER_KEY):
        booked = sum((each.amount for each in exchange.bookings(api_key=api_key)), Decimal(0))
        assert floor.wallet(instrument.settle, api_key) == owned[api_key] + booked


@settings(max_examples=60)
@given(steps=steps, isolated=st.booleans(), is_hedged=st.booleans())
def test_the_lines_of_an_account_add_up_to_it_and_it_goes_on_from_there(
    steps: list[tuple], isolated: bool, is_hedged: bool
) -> None:
    lines = Lines([opening_line(Opening(balances={"USDT": Decimal(100)}, time_ns=START_NS)) + "\n"])
    scribe = Scribe(lines)
    floor = MarginFloor(account(USDT=100), account(OTHER_KEY, USDT=100), listings=(listing(PERP, tiers=TIERS),))
    floor.listeners.append(lambda event: scribe.write(event) if event.api_key == KEY else None)
    for change, on in ((floor.exchange.set_margin_mode, isolated), (floor.exchange.set_position_mode, is_hedged)):
        if on and change == floor.exchange.set_margin_mode:
            change(api_key=KEY, venue_symbol=floor.symbol, mode=MarginMode.ISOLATED, now_ns=START_NS)
        elif on:
            change(api_key=KEY, mode=PositionMode.HEDGE, now_ns=START_NS)
    floor.exchange.set_leverage(api_key=KEY, venue_symbol=floor.symbol, leverage=10, now_ns=START_NS)
    for step in steps:
        try:
            play(floor, [], step, is_hedged=is_hedged and KEY in step)
        except Refused:
            continue

    books = read_margin_lines(lines)
    again = MarginFloor(account(USDT=100), listings=(listing(PERP, tiers=TIERS),))
    again.marks.price = floor.marks.price
    again.exchange.restore(api_key=KEY, past=books.past)

    for ask in ("wallets", "positions", "all_orders", "bookings", "fills", "balances", "sequence", "position_mode"):
        assert getattr(again.exchange, ask)(api_key=KEY) == getattr(floor.exchange, ask)(api_key=KEY), ask
    waiting, before = (each.exchange.all_conditionals(api_key=KEY) for each in (again, floor))
    assert [still(each) for each in waiting] == [still(each) for each in before]
    assert again.exchange.leverage(api_key=KEY, venue_symbol=floor.symbol) == 10
    assert again.total() == 0


def still(conditional: SimConditional) -> SimConditional:
    """Return it without what it has followed, which is not written down."""
    return attrs.evolve(conditional, trail_ns=None, trail_price=None)
