"""The control channel's words for a simulator's sockets: list them, strike them, block them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from btx.errors import ConfigError
from btx.sim.faults import Fault
from btx.sim.wires import COMMANDED, Wires, terms_from

__all__ = ("Strikes",)

_Message = dict[str, Any]


class Strikes:
    """Operations on the sockets of one simulator; without ``wires`` each is refused."""

    def __init__(self, wires: Wires | None) -> None:
        self._wires = wires
        self.operations: Mapping[str, Callable[[_Message], Awaitable[_Message]]] = {
            "sockets": self._sockets,
            "strike": self._strike,
            "block": self._block,
            "unblock": self._unblock,
            "terms": self._terms,
        }

    @property
    def _there(self) -> Wires:
        if self._wires is None:
            raise ConfigError("this simulator does not give its sockets into anybody's hands")
        return self._wires

    async def _sockets(self, _message: _Message) -> _Message:
        wires = self._there
        return {"sockets": [each.to_json() for each in wires.sockets()], "counts": dict(wires.counts())}

    async def _strike(self, message: _Message) -> _Message:
        try:
            fault = Fault(**(message.get("fault") or {}))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"no fault: {error}") from error
        if fault.kind not in COMMANDED:
            known = ", ".join(sorted(kind.value for kind in COMMANDED))
            raise ConfigError(f"{fault.kind.value} waits for its occurrence: write a script, or one of {known}")
        numbers, stream = message.get("sockets"), message.get("stream")
        if not (numbers is None or (isinstance(numbers, list) and all(isinstance(each, int) for each in numbers))):
            raise ConfigError(f"sockets={numbers!r}: write a list of numbers, or leave it out")
        struck = self._there.strike(fault, sockets=numbers, stream=None if stream is None else str(stream))
        return {"sockets": list(struck)}

    async def _block(self, message: _Message) -> _Message:
        self._there.block(form=int(message.get("form") or 0))
        return {}

    async def _unblock(self, _message: _Message) -> _Message:
        self._there.block(form=None)
        return {}

    async def _terms(self, message: _Message) -> _Message:
        self._there.terms(terms_from(message))
        return {}
