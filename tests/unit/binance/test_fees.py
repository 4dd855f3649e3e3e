"""Fees by market and tier, each with where it comes from."""

from decimal import Decimal

import attrs
import pytest

from btx.model.account import AccountSnapshot
from btx.model.calendar import ALWAYS
from btx.rules.fees import at_level
from btx_binance import plugin
from tests.unit.binance.futures_rig import COINM, USDM
from tests.unit.binance.loopback import instrument

NOBODY = AccountSnapshot(balances={}, time_ns=0)


@pytest.mark.parametrize(
    ("traded", "maker", "taker", "discount"),
    [
        (instrument(), "0.001", "0.001", "0.25"),
        (USDM, "0.0002", "0.0005", "0.10"),
        (COINM, "0.0002", "0.0005", "0"),
    ],
)
def test_each_market_has_its_regular_tier_with_a_source_and_a_year(
    traded: object, maker: str, taker: str, discount: str
) -> None:
    fees = plugin.btx_commission(traded, None)  # type: ignore[arg-type]

    assert (fees.maker, fees.taker, fees.discount) == (Decimal(maker), Decimal(taker), Decimal(discount))
    assert (fees.tier, "20" in fees.source) == ("regular", True)
    assert (fees.discount_asset is None) is (fees.discount == 0)


def test_the_ladder_of_spot_goes_by_volume_and_bnb_together() -> None:
    fees = plugin.btx_commission(instrument(), None)

    assert [level.tier for level in fees.levels] == ["regular", *(f"VIP {number}" for number in range(1, 10))]
    assert at_level(fees, Decimal(20_000_000), Decimal(250)).tier == "VIP 3"
    assert at_level(fees, Decimal(20_000_000), Decimal(249)).tier == "VIP 2"
    assert at_level(fees, Decimal(20_000_000), Decimal(250)).maker == Decimal("0.0007")


def test_the_ladder_of_usdm_asks_for_more_volume_at_each_step_and_takes_less() -> None:
    levels = plugin.btx_commission(USDM, None).levels

    assert [level.volume for level in levels] == sorted({level.volume for level in levels})
    assert [level.taker for level in levels] == sorted({level.taker for level in levels}, reverse=True)
    assert at_level(plugin.btx_commission(USDM, None), Decimal(15_000_000), Decimal(25)).maker == Decimal("0.00016")


def test_an_account_that_names_its_tier_pays_that_tiers_rates() -> None:
    named = attrs.evolve(NOBODY, fee_tier="VIP 4")

    assert plugin.btx_commission(instrument(), named).taker == Decimal("0.0004")
    assert plugin.btx_commission(instrument(), NOBODY).tier == "regular"
    assert plugin.btx_commission(USDM, named).taker == Decimal("0.0003")
    assert plugin.btx_commission(COINM, named).tier == "regular"  # its ladder is not known


def test_nothing_here_ever_closes() -> None:
    assert plugin.btx_calendar(USDM) is ALWAYS
