"""Tasks: none dies unseen."""

import asyncio

from btx.runtime.tasks import Tasks
from tests.unit.runtime.rig import run


def test_a_task_that_breaks_is_told_with_its_name() -> None:
    async def scene() -> None:
        faults: list[tuple[str, Exception]] = []
        tasks = Tasks(lambda what, error: faults.append((what, error)))
        error = ZeroDivisionError("x")

        async def broken() -> None:
            raise error

        tasks.start(broken(), what="the broken one")
        await tasks.drain(5.0)
        await tasks.drain(5.0)

        assert faults == [("the broken one", error)]

    run(scene())


def test_stopping_cancels_what_runs_and_is_no_fault() -> None:
    async def scene() -> None:
        faults: list[tuple[str, Exception]] = []
        tasks = Tasks(lambda what, error: faults.append((what, error)))

        async def for_ever() -> None:
            await asyncio.Event().wait()

        task = tasks.start(for_ever(), what="the patient one")
        await tasks.drain(0.001)
        assert not task.done()
        await tasks.stop()

        assert task.cancelled()
        assert faults == []

    run(scene())
