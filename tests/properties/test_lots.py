"""Lots: what is open is what was opened less what was closed, and nothing is ever less than nothing."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from btx.model.account import Lots
from btx.model.order import Offset, Side
from btx.rules.lots import after_fill
from tests.values import fill

fills = st.lists(
    st.tuples(st.sampled_from(list(Side)), st.sampled_from(list(Offset)), st.integers(1, 5)),
    max_size=12,
)


@given(fills)
def test_the_net_follows_the_fills_as_long_as_nothing_is_closed_that_is_not_there(
    steps: list[tuple[Side, Offset, int]],
) -> None:
    lots, net = Lots(symbol="BTC/USDT"), Decimal(0)
    for number, (side, offset, quantity) in enumerate(steps):
        done = fill(f"f{number}", quantity, side=side)
        after = after_fill(lots, done, offset)
        kind = "short" if side is Side.BUY else "long"
        there = {
            Offset.OPEN: Decimal(quantity),
            Offset.CLOSE_TODAY: getattr(lots, f"{kind}_today"),
            Offset.CLOSE_YESTERDAY: getattr(lots, f"{kind}_yesterday"),
            Offset.CLOSE: getattr(lots, f"{kind}_today") + getattr(lots, f"{kind}_yesterday"),
        }[offset]
        net += side.sign * min(Decimal(quantity), there)
        assert after.net == net
        lots = after
