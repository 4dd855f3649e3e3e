"""Slots: what is newest is read, what was never read is counted, and memory has a bound."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from btx.runtime.latest import Latest, Prints, Unknown
from tests.unit.runtime.market_rig import public


def test_a_slot_begins_by_saying_that_nothing_is_known() -> None:
    slot = Latest[int]()

    assert isinstance(slot.get(), Unknown)
    assert slot.conflated == 0


@given(steps=st.lists(st.integers(0, 3) | st.just("read"), max_size=40))
def test_every_update_is_read_or_counted_as_conflated_or_the_one_that_waits(steps: list[int | str]) -> None:
    slot, puts, reads, unread = Latest[int](), 0, 0, 0
    for step in steps:
        if step == "read":
            value = slot.get()
            reads += bool(unread)
            unread = 0
            assert value == puts or not puts
        else:
            puts += int(step)
            unread += int(step)
            slot.put(puts, updates=int(step))

    assert slot.conflated + reads + bool(unread) == puts


@given(steps=st.lists(st.booleans(), max_size=60), bound=st.integers(1, 5))
def test_every_trade_is_taken_once_in_order_or_counted_as_dropped(steps: list[bool], bound: int) -> None:
    prints, put, taken = Prints(bound=bound), 0, []
    for is_put in steps:
        if is_put:
            put += 1
            prints.put(public(put))
        else:
            taken += [trade.trade_id for trade in prints.take()]
        assert len(prints._items) <= bound
    dropped = prints.dropped
    taken += [trade.trade_id for trade in prints.take()]

    assert taken == sorted(set(taken))
    assert prints.dropped == dropped == put - len(taken)


def test_a_thread_that_reads_while_another_writes_loses_nothing_uncounted() -> None:
    slot, prints = Latest[int](), Prints(bound=64)
    trade, total = public(1), 50_000

    def write() -> None:
        for number in range(1, total + 1):
            slot.put(number)
            prints.put(trade)

    writer = threading.Thread(target=write)
    taken, seen, last = 0, 0, 0
    writer.start()
    while writer.is_alive():
        taken += len(prints.take())
        value = slot.get()
        if isinstance(value, int) and value != last:
            assert value > last
            seen, last = seen + 1, value
    writer.join()
    taken += len(prints.take())
    seen += slot.get() != last

    assert taken + prints.dropped == total
    assert seen + slot.conflated == total
