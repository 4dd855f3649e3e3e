"""btx-io: one thread for all, and nothing left of it at the end."""

import asyncio
import contextlib
import gc
import logging
import threading

import pytest

from btx.runtime.io_thread import IoThread, acquire_io

DEADLINE_S = 60.0


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_the_thread_lives_while_somebody_holds_it() -> None:
    one = acquire_io()
    two = acquire_io()
    assert one is two

    one.release()
    assert two.start(asyncio.sleep(0, "alive")).result(DEADLINE_S) == "alive"
    two.release()

    assert "btx-io" not in names()
    assert two.loop.is_closed()


def test_nothing_is_left_after_a_hundred_runs() -> None:
    before = names()

    async def work() -> None:
        await asyncio.to_thread(threading.get_ident)
        asyncio.get_running_loop().call_later(60, print)
        hanging.add(asyncio.create_task(asyncio.Event().wait()))

    for _ in range(100):
        hanging: set[asyncio.Task[bool]] = set()
        io = acquire_io()
        io.start(work()).result(DEADLINE_S)
        io.release()
        assert all(task.cancelled() for task in hanging)

    assert names() <= before


def test_a_function_is_called_on_the_loop_in_the_order_of_the_calls() -> None:
    io = acquire_io()
    told: list[tuple[int, str]] = []
    for place in range(10):
        io.call(lambda place=place: told.append((place, threading.current_thread().name)))
    io.start(asyncio.sleep(0)).result(DEADLINE_S)
    io.release()

    assert told == [(place, "btx-io") for place in range(10)]
    with pytest.raises(RuntimeError):
        io.call(print)


def test_what_takes_too_long_is_cancelled() -> None:
    io = acquire_io()

    async def until_alone() -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        io.run(asyncio.Event().wait(), timeout_s=0.01)

    io.start(until_alone()).result(DEADLINE_S)  # it may not have begun in that time
    io.release()


def test_a_task_that_ignores_its_cancellation_is_left_behind_and_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)  # it would tell of the same task later
    io = IoThread(grace_s=0.02)

    async def stubborn() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def begin() -> "asyncio.Task[None]":
        task = asyncio.create_task(stubborn(), name="stubborn one")
        await asyncio.sleep(0)
        return task

    task = io.start(begin()).result(DEADLINE_S)
    io.end()
    io._thread.join(DEADLINE_S)

    assert "the task stubborn one does not end when cancelled" in caplog.text
    assert io.loop.is_closed()
    assert not task.done()
    task.get_coro().close()
    del task, io
    gc.collect()  # now, while nobody writes of it


def test_a_task_that_was_cancelled_before_the_end_lets_go_of_what_it_holds() -> None:
    io = IoThread()
    begun, log = threading.Event(), []

    async def careful() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(10):  # a child that is killed is waited for
                await asyncio.sleep(0)
            log.append("gone")

    holding = io.start(careful())
    assert begun.wait(DEADLINE_S)
    holding.cancel()
    io.end()

    assert log == ["gone"]


def test_a_call_that_blocks_a_worker_does_not_hold_the_end_up() -> None:
    io = IoThread(grace_s=0.02)
    let_go = threading.Event()
    begun = threading.Event()

    def block() -> None:
        begun.set()
        let_go.wait(DEADLINE_S)

    io.start(asyncio.sleep(0)).result(DEADLINE_S)
    io.loop.call_soon_threadsafe(lambda: io.loop.run_in_executor(None, block))
    assert begun.wait(DEADLINE_S)

    io.end()
    io._thread.join(DEADLINE_S)

    assert io.loop.is_closed()
    let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("btx-io"):
            thread.join(DEADLINE_S)


def test_something_that_blocks_the_loop_is_told_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    io = IoThread(grace_s=0.01)
    let_go = threading.Event()
    io.call(let_go.wait, DEADLINE_S)

    io.end()

    assert "btx-io is blocked" in caplog.text
    let_go.set()
    io._thread.join(DEADLINE_S)
    assert io.loop.is_closed()


def test_the_last_holder_may_be_on_the_thread_itself() -> None:
    io = acquire_io()
    io.call(io.release)

    io._thread.join(DEADLINE_S)

    assert io.loop.is_closed()
