"""The wakeup: no arrival is slept through, and idle is told exactly when all is taken."""

import signal
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.runtime.mailbox import FeedLive, Mailbox, Note, Wakeup

DEADLINE_S = 60.0


def note(text: Any) -> Note:
    return Note(kind="FAULT", text=str(text))


def test_an_item_put_before_the_wait_ends_it_at_once() -> None:
    wakeup = Wakeup()
    mailbox: Mailbox[Note] = Mailbox(wakeup)
    began = time.monotonic()

    mailbox.put(note(1), note(2))
    wakeup.wait(DEADLINE_S)

    assert time.monotonic() - began < DEADLINE_S
    assert len(mailbox) == 2
    assert [mailbox.take(), mailbox.take(), mailbox.take()] == [note(1), note(2), None]


def test_a_wait_without_an_arrival_ends_by_its_timeout() -> None:
    wakeup = Wakeup()

    wakeup.wait(0.0)
    wakeup.wait(0.001)
    wakeup.wait(-1.0)

    assert wakeup.posted == 0


def test_no_wakeup_is_lost_under_many_threads() -> None:
    """Every wait may be long: were one arrival slept through, the deadline of the test would tell."""
    wakeup = Wakeup()
    mailboxes: list[Mailbox[Note]] = [Mailbox(wakeup) for _ in range(3)]
    each, threads = 400, 4

    def write(number: int) -> None:
        for place in range(each):
            mailboxes[(number + place) % 3].put(note(place))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    began = time.monotonic()
    for writer in writers:
        writer.start()
    taken = 0
    while taken < each * threads:
        wakeup.wait(30.0)
        for mailbox in mailboxes:
            while mailbox.take() is not None:
                taken += 1
    for writer in writers:
        writer.join()

    assert time.monotonic() - began < 30.0
    assert wakeup.posted == each * threads


def test_one_item_at_a_time_is_answered_at_once() -> None:
    """Ping-pong: each side waits for the other, so one lost wakeup would stop both."""
    here, there = Wakeup(), Wakeup()
    to_there: Mailbox[Note] = Mailbox(there)
    to_here: Mailbox[Note] = Mailbox(here)

    def answer() -> None:
        for _ in range(500):
            while (item := to_there.take()) is None:
                there.wait(30.0)
            to_here.put(item)

    other = threading.Thread(target=answer)
    began = time.monotonic()
    other.start()
    for place in range(500):
        to_there.put(note(place))
        while (got := to_here.take()) is None:
            here.wait(30.0)
        assert got == note(place)
    other.join()

    assert time.monotonic() - began < 30.0


@given(st.lists(st.sampled_from(["put", "take", "wait", "close"]), max_size=40))
def test_idle_is_told_exactly_when_all_is_taken(steps: list[str]) -> None:
    wakeup = Wakeup()
    mailbox: Mailbox[Note] = Mailbox(wakeup)
    idle: list[int] = []
    wakeup.on_idle(idle.append)
    posted = 0

    for step in steps:
        told = len(idle)
        if step == "put":
            posted += not mailbox.is_closed
            mailbox.put(note(posted))
        elif step == "take":
            mailbox.take()
        elif step == "close":
            mailbox.close()
        else:
            wakeup.wait(0.0)
            assert (len(idle) > told) == (len(mailbox) == 0)
            assert idle[told:] in ([], [posted])


def test_a_listener_that_was_forgotten_hears_nothing() -> None:
    wakeup = Wakeup()
    idle: list[int] = []
    wakeup.on_idle(idle.append)

    wakeup.forget_idle(idle.append)
    wakeup.forget_idle(idle.append)
    wakeup.wait(0.0)

    assert idle == []


def test_a_batch_is_in_all_mailboxes_before_anybody_wakes() -> None:
    wakeup = Wakeup()
    one: Mailbox[Any] = Mailbox(wakeup)
    two: Mailbox[Any] = Mailbox(wakeup)
    seen: list[int] = []

    def strategy() -> None:
        wakeup.wait(DEADLINE_S)
        seen.extend([len(one), len(two)])

    thread = threading.Thread(target=strategy)
    thread.start()
    wakeup.post([(one, FeedLive()), (two, FeedLive()), (one, FeedLive())])
    thread.join()

    assert seen == [2, 1]


def test_a_closed_mailbox_takes_nothing_and_keeps_nobody_from_being_idle() -> None:
    wakeup = Wakeup()
    mailbox: Mailbox[Note] = Mailbox(wakeup)
    mailbox.put(note(1))
    idle: list[int] = []
    wakeup.on_idle(idle.append)

    mailbox.close()
    mailbox.put(note(2))
    wakeup.wait(0.0)

    assert mailbox.take() is None
    assert idle == [1]


def test_patience_ends_only_with_an_arrival() -> None:
    wakeup = Wakeup()
    mailbox: Mailbox[Note] = Mailbox(wakeup)
    owner = object()
    woke = threading.Event()
    idle = threading.Event()
    wakeup.be_patient(owner)
    wakeup.on_idle(lambda _posted: idle.set())

    def strategy() -> None:
        wakeup.wait(0.0)
        woke.set()

    thread = threading.Thread(target=strategy, daemon=True)
    thread.start()
    assert idle.wait(DEADLINE_S)
    assert not woke.wait(0.05)
    mailbox.put(note(1))

    assert woke.wait(DEADLINE_S)
    thread.join()
    assert wakeup.patient
    wakeup.forget_patience(owner)
    assert not wakeup.patient


def test_patience_lasts_until_its_last_owner_takes_it_back() -> None:
    wakeup = Wakeup()
    one, two = object(), object()
    wakeup.be_patient(one)
    wakeup.be_patient(two)

    wakeup.forget_patience(one)
    wakeup.forget_patience(one)
    assert wakeup.patient
    wakeup.forget_patience(two)

    wakeup.wait(DEADLINE_S)  # taking it back is itself a wakeup
    assert not wakeup.patient


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_signal_that_interrupts_no_sleep_ends_a_patient_wait_all_the_same() -> None:
    """The kernel may give it to any thread, or to this one on its way to sleep; Python calls the handler here."""
    wakeup = Wakeup()
    wakeup.be_patient(wakeup)
    asleep = threading.Event()
    wakeup.on_idle(lambda _posted: asleep.set())
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: wakeup.signal())

    def fire() -> None:
        sys.settrace(None)  # see below
        asleep.wait(DEADLINE_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    rescue = threading.Timer(DEADLINE_S, wakeup.signal)
    thread = threading.Thread(target=fire)
    try:
        rescue.start()
        thread.start()
        began = time.monotonic()
        wakeup.wait(0.0)
        assert time.monotonic() - began < DEADLINE_S
    finally:
        rescue.cancel()
        rescue.join()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_signal_handler_wakes_a_patient_wait_and_may_interrupt_the_wakeup_anywhere() -> None:
    """The handler runs on the waiting thread itself, also while that thread holds the lock."""
    wakeup = Wakeup()
    mailbox: Mailbox[Note] = Mailbox(wakeup)
    wakeup.be_patient(wakeup)
    handled = 0

    def handler(_number: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        wakeup.signal()
        mailbox.put(note(handled))

    before = signal.signal(signal.SIGUSR1, handler)
    stop = threading.Event()

    here = threading.get_ident()

    def fire() -> None:
        sys.settrace(None)  # Python 3.11 does not get on with a traced call while a signal waits for its handler
        while not stop.is_set():
            signal.pthread_kill(here, signal.SIGUSR1)  # one of its own, Linux may give to the sender

    thread = threading.Thread(target=fire)
    try:
        thread.start()
        taken = 0
        while taken < 100:
            wakeup.wait(0.0)
            while mailbox.take() is not None:
                taken += 1
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)

    assert handled >= taken
