"""Requests and their answers over one API object: one query at a time, and folders of the library's own.

The library keeps files in a folder that must exist and be no other object's: it loses returns where two share one,
and crashes the process where it does not exist.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from btx.errors import OutcomeUnknownError, TransportError
from btx_ctp.errors import error_of, refused_call
from btx_ctp.spi import Row

__all__ = ("Flow", "Requests")


class Flow:
    """A folder for one API object, removed with it."""

    def __init__(self, kind: str) -> None:
        self._folder = tempfile.mkdtemp(prefix=f"btx-ctp-{kind}-")

    @property
    def path(self) -> str:
        """The folder as the library wants it: with a slash at the end."""
        return f"{self._folder}/"

    def remove(self) -> None:
        """Remove it. Idempotent."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Requests:
    """What was asked over one API object and not answered; on the loop."""

    def __init__(self, api: Any, module: Any, *, answer_s: float) -> None:
        self._api = api
        self._module = module
        self._answer_s = answer_s
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[list[Row]], list[Row], str]] = {}
        self._turn = asyncio.Lock()

    async def query(self, name: str, struct: str, fields: Mapping[str, Any], *, what: str) -> list[Row]:
        """Ask, when what was asked before is answered; return the rows of the answer.

        Raises:
            RateLimitedError: the front takes no more for now.
            TransportError: there is no connection, or no answer.
            VenueError: it is refused.
        """
        async with self._turn:
            return await self.ask(name, struct, fields, what=what)

    async def ask(self, name: str, struct: str, fields: Mapping[str, Any], *, what: str) -> list[Row]:
        """Send a request and wait for its last answer; as :meth:`query` otherwise."""
        request_id, answer = self.send(name, struct, fields, what=what)
        try:
            return await asyncio.wait_for(answer, self._answer_s)
        except TimeoutError as error:
            raise TransportError(f"CTP: no answer to {what} within {self._answer_s:g} s") from error
        finally:
            self._waiting.pop(request_id, None)

    def send(
        self, name: str, struct: str, fields: Mapping[str, Any], *, what: str
    ) -> "tuple[int, asyncio.Future[list[Row]]]":
        """Send a request; return its number, and what its answer will be.

        Raises:
            BtxError: the library did not take it: it certainly never left.
        """
        request = getattr(self._module, f"CThostFtdc{struct}Field")()
        for field, value in fields.items():
            setattr(request, field, value)
        request_id = next(self._ids)
        answer: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = (answer, [], what)
        code = getattr(self._api, name)(request, request_id)
        if code:
            del self._waiting[request_id]
            raise refused_call(code, what=what)
        return request_id, answer

    async def settle(self, request_id: int, answer: "asyncio.Future[list[Row]]", *, what: str) -> None:
        """Wait for the answer to an order, which left.

        Raises:
            VenueError: it is refused.
            OutcomeUnknownError: nobody said what became of it.
        """
        try:
            await asyncio.wait_for(answer, self._answer_s)
        except TimeoutError as error:
            raise OutcomeUnknownError(f"CTP: no answer to {what} within {self._answer_s:g} s") from error
        except TransportError as error:
            raise OutcomeUnknownError(f"{error}: {what} may have arrived") from error
        finally:
            self._waiting.pop(request_id, None)

    def take(self, row: Row | None, info: Row | None, request_id: int, is_last: bool) -> None:
        """Take an answer; rows of one that has come to its end go to whoever waits."""
        answer, rows, what = self._waiting.get(request_id, (None, [], ""))
        if answer is None or answer.done():
            return
        if info is not None and info["ErrorID"]:
            answer.set_exception(error_of(info["ErrorID"], info["ErrorMsg"], what=what))
            return
        if row is not None:
            rows.append(row)
        if is_last:
            answer.set_result(rows)

    def done(self, request_id: int) -> None:
        """Take it that a request was done: something that follows from it was told."""
        answer, rows, _ = self._waiting.get(request_id, (None, [], ""))
        if answer is not None and not answer.done():
            answer.set_result(rows)

    def lose(self, reason: str) -> None:
        """Tell everybody who waits that the connection is lost."""
        for answer, _, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(TransportError(reason))
                answer.exception()  # it is looked at: whoever asked may wait no more
