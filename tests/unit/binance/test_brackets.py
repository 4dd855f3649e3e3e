"""The table of leverage brackets: the recorded ones, and each joins the one before."""

import itertools
import json
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from btx_binance.futures.brackets import brackets_of
from tests.unit.sim.margin_toys import COIN, PERP


def test_the_brackets_are_those_that_were_recorded(btx_data: Path) -> None:
    path = btx_data / "reference" / "binance_usdm_leverage_tiers_2024-10_10sym.json"
    for symbol, rows in json.loads(path.read_text()).items():
        base, quote = symbol.split(":", maxsplit=1)[0].split("/")
        brackets = brackets_of(attrs.evolve(PERP, base=base, quote=quote))
        assert [
            (each.floor, each.cap, each.max_leverage, each.maintenance_rate, each.maintenance_amount)
            for each in brackets
        ] == [
            (
                Decimal(str(row["minNotional"])),
                Decimal(str(row["maxNotional"])),
                row["maxLeverage"],
                Decimal(row["info"]["maintMarginRatio"]),
                Decimal(row["info"]["cum"]),
            )
            for row in rows
        ], symbol


@pytest.mark.parametrize("instrument", [PERP, COIN, attrs.evolve(PERP, base="NEW"), attrs.evolve(COIN, base="NEW")])
def test_every_contract_has_brackets_and_maintenance_never_jumps(instrument: object) -> None:
    brackets = brackets_of(instrument)

    assert brackets[0].floor == 0
    for lower, upper in itertools.pairwise(brackets):
        assert lower.cap == upper.floor
        at_the_edge = {each.maintenance_rate * upper.floor - each.maintenance_amount for each in (lower, upper)}
        assert len(at_the_edge) == 1
