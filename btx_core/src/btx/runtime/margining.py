"""What a user wants of an account on margin: leverage, and how positions are kept."""

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from btx.errors import ConfigError
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.venue import Capabilities
from btx.rules.risk import Limits

__all__ = ("AS_IT_IS", "Margining", "margining_of")

_Mode = TypeVar("_Mode", MarginMode, PositionMode)


@attrs.frozen(kw_only=True)
class Margining:
    """What an account on margin should be; what is None stays as the venue has it.

    ``leverages`` are of single symbols, as the user wrote them, and count before ``leverage``.
    """

    leverage: int | None = None
    leverages: Mapping[str, int] = attrs.field(factory=dict)
    margin_mode: MarginMode | None = None
    position_mode: PositionMode | None = None

    def leverage_of(self, *names: str) -> int | None:
        """Return the leverage an instrument should have, by any of its names: ``BTC/USDT:USDT``, ``BTC/USDT``."""
        return next((self.leverages[name] for name in names if name in self.leverages), self.leverage)

    def widened(self, limits: Limits) -> Limits:
        """Return limits whose shares of the equity let positions have the leverage that was asked for.

        An order may be twice as large: it turns a position over.
        """
        times = max((self.leverage or 1, *self.leverages.values()))
        order, position = limits.order_share, limits.position_share
        return attrs.evolve(
            limits,
            order_share=order * times * 2 if order is not None else None,
            position_share=position * times if position is not None else None,
        )


AS_IT_IS = Margining()
"""Nothing is changed at the venue."""


def margining_of(
    capabilities: Capabilities, *, market: str, leverage: Any, margin_mode: Any, position_mode: Any
) -> Margining:
    """Return what the words of ``btx.load`` ask for in a market.

    Raises:
        ConfigError: one means nothing, or nothing in this market; the message says what to write.
    """
    words = {"leverage": leverage, "margin_mode": margin_mode, "position_mode": position_mode}
    given = [f"{name}=" for name, word in words.items() if word is not None]
    if given and not capabilities.margined:
        raise ConfigError(f"{', '.join(given)}: positions of market {market!r} are not on margin: leave it out")
    if leverage is not None and not capabilities.sets_leverage:
        raise ConfigError(f"leverage=: in market {market!r} the venue alone says what margin it wants: leave it out")
    is_by_symbol = isinstance(leverage, Mapping)
    if strange := [symbol for symbol in (leverage if is_by_symbol else ()) if "/" not in str(symbol)]:
        raise ConfigError(f"leverage={{{strange[0]!r}: ...}}: write the symbol with a slash, like 'BTC/USDT'")
    leverages = {symbol: _leverage(each, of=symbol) for symbol, each in (leverage if is_by_symbol else {}).items()}
    return Margining(
        leverage=None if leverage is None or is_by_symbol else _leverage(leverage),
        leverages=leverages,
        margin_mode=_mode(MarginMode, "margin_mode", margin_mode, capabilities.margin_modes),
        position_mode=_mode(PositionMode, "position_mode", position_mode, capabilities.position_modes),
    )


def _leverage(value: Any, *, of: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        said = f"leverage={{{of!r}: {value!r}}}" if of else f"leverage={value!r}"
        raise ConfigError(f"{said}: write a whole number from 1 on, or one per symbol, like {{'BTC/USDT': 5}}")
    return value


def _mode(kind: type[_Mode], name: str, word: Any, known: frozenset[_Mode]) -> _Mode | None:
    if word is None:
        return None
    mode = next((each for each in kind if word in {each, each.value.lower()}), None)
    if mode is None or mode not in known:
        choice = " or ".join(sorted(repr(each.value.lower()) for each in known)) or "nothing"
        raise ConfigError(f"{name}={word!r} is not taken here: write {choice}")
    return mode
