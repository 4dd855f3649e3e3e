"""The account: what is owned, what is locked, and what trading costs, as the venue's own ledger has it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.account import Balance
from btx.model.fees import FeeSchedule
from btx.model.order import Fill, Liquidity, OrderType, Status
from btx.rules.contracts import notional
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, ports_card, skip

__all__ = ()

_MARKET = needs.order_type(OrderType.MARKET)
_LIMIT = needs.order_type(OrderType.LIMIT)
_ZERO = Decimal(0)
_FINEST = Decimal("1e-8")  # what a venue's decimals may round away from each fill
_NEAR = Decimal("0.02")  # what rounding of a small fee may change


async def _totals(bench: Bench) -> dict[str, Decimal]:
    """Return what the ledger says is owned of each asset, without those of which there is nothing."""
    ledger = await bench.ledger()
    if "wallets" in ledger:
        totals = {asset: Decimal(each["wallet"]) for asset, each in ledger["wallets"].items()}
    else:
        totals = {asset: Decimal(each["free"]) + Decimal(each["locked"]) for asset, each in ledger["balances"].items()}
    return {asset: total for asset, total in totals.items() if total}


def _told(balances: Mapping[str, Balance]) -> dict[str, Decimal]:
    return {asset: each.total for asset, each in balances.items() if each.total}


@ports_card("ACC-01", "The account owns what the venue's ledger says", hint="Store.account")
async def _owned(bench: Bench) -> None:
    told, ledger = _told((await bench.store.account()).balances), await _totals(bench)
    expect(told == ledger, f"expected balances {_words(ledger)}, and account() says {_words(told)}")


@ports_card(
    "ACC-02",
    "After a trade the account owns what the venue's ledger says",
    hint="Store.account, and fees",
    needs=(_MARKET,),
)
async def _owned_after(bench: Bench) -> None:
    before = await _totals(bench)
    await bench.sold(await bench.bought())
    told, ledger = _told((await bench.store.account()).balances), await _totals(bench)
    expect(ledger != before, "expected a trade to change the ledger, and it did not")
    expect(told == ledger, f"expected balances {_words(ledger)}, and account() says {_words(told)}")


@ports_card(
    "ACC-03",
    "What a trade changes is pushed, as absolute totals",
    hint="AccountUpdate of the account's stream",
    needs=(_MARKET, needs.flag("account_updates")),
)
async def _pushed(bench: Bench) -> None:
    before = len(bench.updates())
    earlier = await _totals(bench)
    await bench.bought()
    ledger = await _totals(bench)
    changed = {asset: total for asset, total in ledger.items() if total != earlier.get(asset)}

    def known() -> dict[str, Decimal]:
        told: dict[str, Decimal] = {}
        for update in bench.updates()[before:]:
            told |= {asset: each.total for asset, each in update.balances.items()}
        return told

    await bench.account.until(
        lambda: all(known().get(asset) == total for asset, total in changed.items()),
        f"AccountUpdate to say {_words(changed)}",
    )


@ports_card(
    "ACC-04",
    "What a resting order reserves is locked, and free again when it is cancelled",
    hint="Balance.locked",
    needs=(_LIMIT, needs.spot),
)
async def _locked(bench: Bench) -> None:
    asset = bench.instrument.quote
    before = (await bench.store.account()).balances[asset]
    leg = await bench.rested()
    during = (await bench.store.account()).balances[asset]
    row = (await bench.ledger())["balances"][asset]
    await bench.cancel(leg)
    await bench.until_status(leg, Status.CANCELED, Status.EXPIRED)
    after = (await bench.store.account()).balances[asset]
    expect(during.locked == Decimal(row["locked"]), f"expected {row['locked']} {asset} locked, and {during.locked} is")
    expect(during.locked > before.locked, f"expected a resting order to lock {asset}, and nothing more is locked")
    expect(after == before, f"expected {before} when the order is gone, and it is {after}")


@ports_card(
    "ACC-05",
    "An account that may trade says so, and so does its key",
    hint="AccountSnapshot.can_trade, Store.key_rights",
)
async def _may(bench: Bench) -> None:
    expect((await bench.store.account()).can_trade, "expected can_trade of the simulator's account, and it is False")
    rights = await bench.store.key_rights()
    expect(rights.may_trade is not False, "expected a key that may trade, and key_rights says it may not")


@ports_card(
    "ACC-06",
    "Fees are charged at the rates that the adapter says are in force",
    hint="btx_commission, Store.fees",
    needs=(_MARKET, needs.flag("executions")),
)
async def _rates(bench: Bench) -> None:
    account = await bench.store.account()
    own = await bench.store.fees(instruments=[bench.instrument])
    schedule = own.get(bench.symbol) or bench.venue.commission(bench.instrument, account)
    leg = await bench.bought(quantity=await bench.size(20))
    fills = [each for each in bench.fills(leg) if each.fee is not None]
    if not fills:
        skip("the venue tells no fees with its fills")
    paid = sum((_in_settle(bench, each) for each in fills), _ZERO)
    due = sum((_due(bench, each, schedule) for each in fills), _ZERO)
    slack = abs(due) * _NEAR + len(fills) * _FINEST
    expect(abs(paid - due) <= slack, f"expected fees of about {due:f}, and {paid:f} was charged")


def _in_settle(bench: Bench, fill: Fill) -> Decimal:
    """Return a fee in what a notional is counted in."""
    instrument, fee = bench.instrument, fill.fee or _ZERO
    if fill.fee_asset not in {instrument.base, instrument.quote, instrument.settle}:
        skip(f"fees are taken in {fill.fee_asset}, at a price that is not known here")
    return fee * fill.price if fill.fee_asset == instrument.base != instrument.settle else fee


def _due(bench: Bench, fill: Fill, schedule: FeeSchedule) -> Decimal:
    rate = schedule.maker if fill.liquidity is Liquidity.MAKER else schedule.taker
    return notional(bench.instrument, fill.quantity, fill.price) * rate


@ports_card("ACC-07", "A taker is told as one", hint="Fill.liquidity", needs=(_MARKET,))
async def _taker(bench: Bench) -> None:
    leg = await bench.bought()
    kinds = {each.liquidity for each in bench.fills(leg)}
    if kinds == {None}:
        skip("the venue does not tell who made and who took")
    expect(kinds == {Liquidity.TAKER}, f"expected a market order to take, and its fills are told as {kinds}")


@ports_card("ACC-08", "Rates of the account's own are those of its instruments, as fractions", hint="Store.fees")
async def _own(bench: Bench) -> None:
    own = await bench.store.fees(instruments=[bench.instrument])
    expect(
        set(own) <= {bench.symbol}, f"expected rates of {bench.symbol} alone, and there are those of {', '.join(own)}"
    )
    for each in own.values():
        expect(
            abs(each.taker) < Decimal("0.05"), f"expected a fraction of the notional, and the taker pays {each.taker}"
        )


@ports_card("ACC-09", "A snapshot is stamped with the market's time", hint="AccountSnapshot.time_ns")
async def _stamped(bench: Bench) -> None:
    await bench.advance()
    off_s = abs((await bench.store.account()).time_ns - bench.time.market) / 1e9
    expect(off_s < 300, f"expected the market's time of the account, and it is {off_s:.0f} s away from it")


def _words(totals: Mapping[str, Any]) -> str:
    return ", ".join(f"{total} {asset}" for asset, total in sorted(totals.items())) or "nothing"
