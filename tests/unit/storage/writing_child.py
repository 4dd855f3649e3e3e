"""A process that writes journals until it is killed.

For each path on its standard input it forks a writer, which says ``pid N`` and
then, of each append that came back, its number. When the writer is dead the
parent says ``end``. Forked, so that a round does not wait for imports.
"""

import asyncio
import itertools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from btx.ports import Journal
from btx.storage.journal import open_journal
from tests.unit.storage.samples import sent


async def write_for_ever(journal: Journal) -> None:
    count = itertools.count()
    for turn in itertools.count():
        # In one transaction or several, as it comes.
        group = [asyncio.create_task(append(journal, next(count))) for _ in range(turn % 5 + 1)]
        await asyncio.sleep(0)  # a turn of the loop: the tasks above have appended
        journal.post(sent(next(count)))
        await asyncio.gather(*group)


async def append(journal: Journal, number: int) -> None:
    await journal.append(sent(number), durable=number % 3 != 0)
    say(str(number))


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once, and lines of several processes do not mix


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            journal = open_journal(Path(line.strip()))
            say(f"pid {os.getpid()}")
            asyncio.run(write_for_ever(journal))
        os.waitpid(pid, 0)
        say("end")


if __name__ == "__main__":
    main()
