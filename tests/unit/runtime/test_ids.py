"""Client order ids: unique, short, and legal where they go."""

import string
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, PluginError
from btx.runtime.ids import ClientIds
from tests.toy_venue import INFO

BINANCE_ALPHABET = set(string.ascii_letters + string.digits + ".:/_-")


def test_client_order_ids_are_unique_short_and_legal_at_binance() -> None:
    runs = [ClientIds(INFO.client_id) for _ in range(3)]

    ids = [each.next() for each in runs for _ in range(2000)]

    assert len({*ids[:2000]}) == len({*ids[2000:4000]}) == 2000
    assert {len(each) for each in ids} == {12}
    assert {*"".join(ids)} <= BINANCE_ALPHABET
    assert ids[:2000] == sorted(ids[:2000])


def test_a_run_that_has_used_up_its_ids_says_so() -> None:
    ids = ClientIds(INFO.client_id)
    ids._counter = iter([32**4])  # type: ignore[assignment]

    with pytest.raises(BtxError, match="restart the strategy"):
        ids.next()


@pytest.mark.parametrize("changes", [{"max_len": 11}, {"alphabet": "0123456789"}])
def test_a_venue_whose_ids_ours_do_not_fit_is_refused_before_the_first_order(changes: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="ours have 12 of"):
        ClientIds(attrs.evolve(INFO.client_id, **changes))
