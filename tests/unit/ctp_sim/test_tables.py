import pytest

from btx.errors import ConfigError
from btx.model.venue import Scenario
from btx_ctp.sim.tables import listings
from btx_ctp.sim.wire import callback_line, parse


def test_contracts_are_listed_with_or_without_their_exchange() -> None:
    found = listings(Scenario(symbols=("rb2601", "CZCE.SR601", "CFFEX.IF2512")))

    assert [each.instrument.symbol for each in found] == ["SHFE.rb2601", "CZCE.SR601", "CFFEX.IF2512"]
    assert [len(each.calendar.hours) for each in found] == [4, 4, 2]
    assert [each.instrument.delivery_ns for each in found] == [
        1_768_460_400_000_000_000,
        1_768_460_400_000_000_000,
        1_765_782_000_000_000_000,
    ]


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("xx2601", "is no contract"),
        ("rb601", "is no contract"),
        ("rb2613", "is no contract"),
        ("DCE.rb2601", "rb is traded at SHFE"),
    ],
)
def test_what_is_no_contract_is_one_sentence(symbol: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        listings(Scenario(symbols=(symbol,)))


def test_a_line_says_what_was_put_in_and_one_that_is_none_is_an_error() -> None:
    assert parse(callback_line("OnRtnOrder", ("Struct", {"Text": "\u6b63"}))) == {
        "on": "OnRtnOrder",
        "args": [["Struct", {"Text": "\u6b63"}]],
    }
    with pytest.raises(ValueError, match="a line is a JSON object"):
        parse(b"[1]")
