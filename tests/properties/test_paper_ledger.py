"""A paper account on disk: what its lines add up to is the account, whatever happened to it and wherever it was cut."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from btx.model.order import ListKind, OrderType, Side
from btx.model.venue import SimAccount
from btx.sim.exchange import Exchange, ExecutionEvent
from btx.sim.lists import NewOrderList
from btx.sim.orders import NewOrder, Refused
from btx.sim.paper_ledger import Opening, event_line, opening_line, read_lines
from tests.unit.sim.toys import KEY, LISTINGS, START_NS, FixedMarket, limit_order, market_order

OPENING = {"USDT": Decimal(100_000), "BTC": Decimal(10)}


class Paper:
    """An exchange that writes down what it tells."""

    def __init__(self) -> None:
        self.market = FixedMarket()
        self.lines = [opening_line(Opening(balances=OPENING, time_ns=START_NS))]
        self.now_ns = START_NS
        self.exchange = self.new_exchange()

    def new_exchange(self) -> Exchange:
        return Exchange(
            listings=LISTINGS,
            accounts=[SimAccount(api_key=KEY, api_secret="", balances=OPENING)],
            market=self.market,
            listener=self.write,
        )

    def write(self, event: ExecutionEvent) -> None:
        tied = event.order.list_id
        order_list = None if tied is None else self.exchange.order_list(api_key=KEY, list_id=tied)
        self.lines.append(event_line(event, order_list=order_list))

    def do(self, what: tuple[str, int, int]) -> None:
        kind, price, quantity = what
        self.now_ns += 1_000_000
        try:
            self._do(kind, price, quantity)
        except Refused:
            return  # which changes nothing, and is told to who asked

    def _do(self, kind: str, price: int, quantity: int) -> None:
        exchange, now_ns = self.exchange, self.now_ns
        side = Side.BUY if quantity % 2 else Side.SELL
        match kind:
            case "market":
                exchange.place(api_key=KEY, order=market_order(side, quantity), now_ns=now_ns)
            case "limit":
                exchange.place(api_key=KEY, order=limit_order(side, quantity, price), now_ns=now_ns)
            case "stop":
                order = market_order(side, quantity, order_type=OrderType.STOP_MARKET, trigger_price=Decimal(price))
                exchange.place(api_key=KEY, order=order, now_ns=now_ns)
            case "oco":
                pair = (
                    limit_order(Side.SELL, quantity, max(price, 101), post_only=True),
                    market_order(
                        Side.SELL, quantity, order_type=OrderType.STOP_MARKET, trigger_price=Decimal(min(price, 99))
                    ),
                )
                exchange.place_list(api_key=KEY, order_list=NewOrderList(kind=ListKind.OCO, orders=pair), now_ns=now_ns)
            case "cancel":
                orders = exchange.open_orders(api_key=KEY)
                if orders:
                    chosen = orders[price % len(orders)]
                    exchange.cancel(
                        api_key=KEY, venue_symbol=chosen.venue_symbol, order_id=chosen.order_id, now_ns=now_ns
                    )
            case "trade":
                self.market.last = Decimal(price)
                exchange.on_trade(
                    venue_symbol="BTCUSDT", price=Decimal(price), quantity=Decimal(quantity), now_ns=now_ns
                )


steps = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "stop", "oco", "cancel", "trade", "trade"]),
        st.integers(95, 105),
        st.integers(1, 4),
    ),
    max_size=25,
)


@given(steps)
def test_an_account_that_is_read_again_is_the_account_that_was_written(actions: list[tuple[str, int, int]]) -> None:
    paper = Paper()
    for action in actions:
        paper.do(action)

    books = read_lines(f"{line}\n" for line in paper.lines)

    assert books is not None
    again = paper.new_exchange()
    again.restore(
        api_key=KEY,
        balances=books.balances,
        orders=books.orders.values(),
        fills=books.fills,
        lists=books.lists.values(),
        sequence=books.sequence,
    )
    assert again.balances(api_key=KEY) == paper.exchange.balances(api_key=KEY)
    assert again.fills(api_key=KEY) == paper.exchange.fills(api_key=KEY)
    assert again.all_orders(api_key=KEY) == paper.exchange.all_orders(api_key=KEY)
    assert again.open_orders(api_key=KEY) == paper.exchange.open_orders(api_key=KEY)
    assert again.order_lists(api_key=KEY, is_open=True) == paper.exchange.order_lists(api_key=KEY, is_open=True)
    placed = again.place(api_key=KEY, order=_small(), now_ns=paper.now_ns + 1)
    assert placed.order_id == len(paper.exchange.all_orders(api_key=KEY)) + 1


def _small() -> NewOrder:
    return limit_order(Side.BUY, "0.1", "96", client_order_id="after the restart")


@given(steps, st.integers(min_value=1))
def test_a_line_that_a_kill_cut_short_is_passed_over(actions: list[tuple[str, int, int]], length: int) -> None:
    paper = Paper()
    for action in actions:
        paper.do(action)
    lines = [f"{line}\n" for line in paper.lines]
    torn = lines[-1][: length % len(lines[-1])]

    whole, cut = read_lines(lines[:-1]), read_lines([*lines[:-1], *([torn] if torn else [])])

    assert cut == whole
