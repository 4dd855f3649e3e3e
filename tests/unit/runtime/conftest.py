"""Fixtures of the shell's tests: whatever a test did, no thread of ours may outlive it."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.unit.runtime.strategy import Outside


@pytest.fixture
def outside() -> Iterator[Outside]:
    hold = Outside()
    yield hold

    async def tasks() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}

    left = hold.wait(tasks())
    hold.release()
    assert left == set()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("btx-io")]
