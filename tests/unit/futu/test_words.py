"""What the adapter says without asking OpenD: names, hours, errors, options, the visiting card."""

import pytest

from btx.errors import (
    AuthenticationError,
    BtxError,
    FilterError,
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    UnknownSymbolError,
)
from btx.model.account import AccountSnapshot
from btx.model.venue import Scenario
from btx.rules.calendar import is_open
from btx_futu import plugin
from btx_futu.codec import time_ns
from btx_futu.errors import error_of
from btx_futu.hours import calendar_of
from btx_futu.listed import listed
from btx_futu.symbols import market_of, place_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Connection closed", TransportError),
        ("Disconnect", OutcomeUnknownError),
        ("PacketErr.Timeout", OutcomeUnknownError),
        ("request timeout, the outcome is unknown", OutcomeUnknownError),
        ("the server is busy, the request was not done", OutcomeUnknownError),  # its word for it is not enough
        ("网络中断", OutcomeUnknownError),
        ("high frequency: at most 15 requests", RateLimitedError),
        ("请求过于频繁", RateLimitedError),
        ("unlock trade first", AuthenticationError),
        ("购买力不足", InsufficientFundsError),
        ("未知股票", UnknownSymbolError),
        ("订单不存在", OrderNotFoundError),
        ("the quantity is not a multiple of the lot size", FilterError),
        ("the market is closed", OrderRejectedError),
    ],
)
def test_a_text_says_by_its_words_what_to_do_next(text: str, expected: type[BtxError]) -> None:
    assert type(error_of(text, acts=True)) is expected


@pytest.mark.parametrize("text", ["Disconnect", "PacketErr.Timeout"])
def test_a_question_that_was_not_answered_did_nothing(text: str) -> None:
    assert type(error_of(text, acts=False)) is TransportError


def test_symbols_are_the_venues_own_codes() -> None:
    assert [market_of(code) for code in ("HK.00700", "US.BRK.B")] == ["hk", "us"]
    assert place_of("HK.00700").currency == "HKD"


@pytest.mark.parametrize("text", ["00700", "BTC/USDT", "SH.600519", "HK."])
def test_what_is_no_code_of_a_market_here_is_told(text: str) -> None:
    with pytest.raises(UnknownSymbolError, match=r"HK\.00700"):
        market_of(text)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("HK.00700", "2025-06-02 09:30:00", True),
        ("HK.00700", "2025-06-02 12:30:00", False),
        ("HK.00700", "2025-06-02 16:00:00", False),
        ("HK.00700", "2025-07-01 10:00:00", False),  # the day of the establishment of the region
        ("HK.00700", "2025-06-01 10:00:00", False),  # a Sunday
        ("US.AAPL", "2025-06-02 12:30:00", True),
        ("US.AAPL", "2025-07-04 12:30:00", False),
    ],
)
def test_shares_trade_in_the_sessions_of_their_exchange(code: str, text: str, expected: bool) -> None:
    assert is_open(calendar_of(code), time_ns(text, place_of(code).zone)) is expected


def test_paper_is_free_and_a_real_account_pays_what_is_a_share_of_the_notional() -> None:
    (share,) = [each.instrument for each in listed(Scenario(symbols=("HK.00700",)))]
    paper = AccountSnapshot(balances={}, time_ns=0, fee_tier="paper")

    assert plugin.btx_commission(share, paper).taker == 0
    assert plugin.btx_commission(share, None).taker > 0
    assert plugin.btx_calendar(share) is calendar_of("HK.00700")
    assert plugin.btx_venue().capabilities["us"].currency == "USD"
