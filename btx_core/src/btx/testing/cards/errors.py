"""Errors: each says by its class what to do next, and none tells a secret."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from btx.errors import AuthenticationError, BtxError, OrderRejectedError
from btx.model.order import OrderType, Side, Status
from btx.model.venue import Channel
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, expect_error, ports_card, skip
from btx.testing.opening import bench_of

__all__ = ()

_LIMIT = needs.order_type(OrderType.LIMIT)
_WRONG = "wr0ng" * 8


async def _with(bench: Bench, *, api_key: str | None = None, api_secret: str | None = None, listens: bool) -> None:
    """Open a second session with other keys, and ask what only the right ones may."""
    opened = bench_of(
        bench.venue,
        bench.market,
        bench.endpoints,
        deadline_s=bench.deadline_s,
        symbols=(bench.symbol,),
        api_key=api_key,
        api_secret=api_secret,
        listens=False,
    )
    async with opened as other:
        if listens:
            await other.listen(other.subscription(Channel.ACCOUNT))
        else:
            await other.store.account()


def _need_secret(bench: Bench) -> str:
    """Return the account's secret; the card is skipped where it has none."""
    secret = bench.context.settings.api_secret.reveal()
    if not secret:
        skip("the simulator's accounts have no secret")
    return secret


def _other(text: str) -> str:
    """Return a text of the same make that is not this one: a number where it is a number."""
    return f"{int(text) + 7_000_007}" if text.isdecimal() else _WRONG


@ports_card(
    "ERR-01",
    "A wrong secret is told as such: a human must act, and trying again does not help",
    hint="AuthenticationError of Store.account",
)
async def _secret(bench: Bench) -> None:
    _need_secret(bench)
    call = _with(bench, api_secret=_WRONG, listens=False)
    await expect_error(AuthenticationError, call, "for a wrong secret")


@ports_card("ERR-02", "An unknown key is told as such", hint="AuthenticationError of Store.account")
async def _key(bench: Bench) -> None:
    call = _with(bench, api_key=_other(bench.api_key), listens=False)
    await expect_error(AuthenticationError, call, "for an unknown key")


@ports_card(
    "ERR-03",
    "The account's stream is not opened with an unknown key, and says why",
    hint="AuthenticationError of Stream.run: no redialling helps",
)
async def _stream(bench: Bench) -> None:
    call = _with(bench, api_key=_other(bench.api_key), listens=True)
    await expect_error(AuthenticationError, call, "for the account's stream with an unknown key")


@ports_card(
    "ERR-04",
    "A key that ends in the middle of a session is told as such, and its order is not at the venue",
    hint="AuthenticationError of Broker.place",
    needs=(_LIMIT,),
    alone=True,
)
async def _expired(bench: Bench) -> None:
    leg = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY))
    await bench.faults({"kind": "key_expiry", "where": "place", "count": 3})
    try:
        await bench.place(leg)
    except AuthenticationError:
        expect(not await bench.ledger_orders(leg), "expected no order at the venue, and there is one")
        return
    except BtxError as error:
        raise CardFailedError(f"expected AuthenticationError for a key that ended, and it was {error!r}") from error
    if not (await bench.ask("fault_log"))["log"]:
        skip("the simulator does not play the fault 'key_expiry'")
    raise CardFailedError("expected AuthenticationError for a key that ended, and the order was taken")


@ports_card(
    "ERR-05",
    "A refusal says the venue's own words",
    hint="OrderRejectedError: its message, and its code where there is one",
    needs=(_LIMIT,),
)
async def _words(bench: Bench) -> None:
    leg = await bench.leg(
        order_type=OrderType.LIMIT, price=await bench.away(Side.BUY), quantity=bench.instrument.step_size / 4
    )
    try:
        await bench.place(leg)
    except OrderRejectedError as error:
        expect(bool(str(error).strip()), "expected the venue's words in the error, and there are none")
        has_code = error.code is not None or not bench.can.error_codes
        expect(has_code, f"expected the venue's code in the error, and it has none: {error}")
        return
    report = await bench.until_status(leg, Status.REJECTED)
    expect(bool(report.reason), "expected the venue's words in OrderReport.reason, and it is empty")


@ports_card(
    "ERR-06",
    "No error, log or text of a value tells the secret",
    hint="what is logged, and what errors quote",
    needs=(_LIMIT,),
    alone=True,
)
async def _hidden(bench: Bench) -> None:
    secret = _need_secret(bench)
    told: list[str] = [repr(bench.context), str(bench.context.settings)]
    with _heard() as lines:
        await bench.store.account()
        leg = await bench.rested()
        for fault in ("drop", "error_after", "truncate", "key_expiry"):
            await bench.faults({"kind": fault, "where": "account", "count": 3})
            try:
                await bench.store.account()
            except BtxError as error:
                told += [repr(error), repr(error.__cause__), repr(error.__context__)]
        await bench.faults()
        await bench.cancel(leg)
    for text in (*told, *lines):
        expect(
            secret not in text, f"expected the secret nowhere, and it is in: {text.replace(secret, '<secret>')[:200]}"
        )
    for port in (bench.store, bench.broker, bench.feed, bench.stream):
        expect(
            secret not in repr(port), f"expected the secret nowhere, and it is in the text of a {type(port).__name__}"
        )


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Hear everything that is logged, however fine."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root, ear = logging.getLogger(), Ear(level=0)
    before = root.level
    root.addHandler(ear)
    root.setLevel(0)
    try:
        yield lines
    finally:
        root.removeHandler(ear)
        root.setLevel(before)
