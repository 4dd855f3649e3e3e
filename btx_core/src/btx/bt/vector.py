"""Whole arrays of backtrader's own indicators at once, to the same bits as its loops over floats.

Only what can be computed in another order without another result is here: sums
that are exact before they are rounded once, and operations on each element.
Where a value or a type is unusual, backtrader's own loop runs.
"""

import contextlib
import inspect
import math
import operator
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import backtrader as bt
import numpy as np
from backtrader import functions, linebuffer
from backtrader.indicators import basicops, crossover
from backtrader.lineseries import LineSeries

__all__ = ("rolling_sums", "vectorised")

Once = Callable[[Any, int, int], bool]  # an indicator's own, from start to end; False: it is not for numpy

_HALF = 27  # bits of the upper part of a float of 53
_MANTISSA = 53
_CARRY = 62  # bits of a whole number of numpy
_TINY = -900  # binary exponents below are near the end of what a float holds
_WINDOW = 64  # longest window of a maximum that is worth looking at as a whole


@contextlib.contextmanager
def vectorised(strategies: Sequence[Any]) -> Iterator[None]:
    """Let the indicators of these strategies compute their arrays at once, while the context lasts."""
    changed: list[tuple[Any, str]] = []

    def change(thing: Any, name: str, method: Callable[..., None] | None) -> None:
        if method is not None and name not in vars(thing):
            vars(thing)[name] = method
            changed.append((thing, name))

    for strategy in strategies:
        for indicator in _indicators(strategy):
            change(indicator, "once", _once_of(indicator))
            change(indicator, "forward", _forward_of(indicator))
        for thing in (strategy, *strategy._lineiterators[bt.LineIterator.ObsType]):
            change(thing, "forward", _forward_of(thing))
    try:
        yield
    finally:
        for thing, name in changed:
            del vars(thing)[name]


def _indicators(owner: Any) -> Iterator[Any]:
    for indicator in owner._lineiterators[bt.LineIterator.IndType]:
        yield indicator
        if isinstance(indicator, bt.LineIterator):
            yield from _indicators(indicator)


def _once_of(indicator: Any) -> Callable[[int, int], None] | None:
    stock: Any = getattr(type(indicator), "once", None)
    quick = _QUICK.get(stock)
    if quick is None:
        return None

    def once(start: int, end: int) -> None:
        if end <= start or not quick(indicator, start, end):
            stock(indicator, start, end)

    return once


def _forward_of(thing: Any) -> Callable[..., None] | None:
    """Return stock's making of room, at once where stock appends value by value; None where it is another's."""
    forward = type(thing).forward
    if forward is LineSeries.forward:
        lines = thing.lines.lines
    elif forward is linebuffer.LineBuffer.forward:
        lines = [thing]
    else:
        return None
    if any(type(line.array) is not array for line in lines):
        return None

    def make_room(value: float = math.nan, size: int = 1) -> None:
        room = array("d", [value]) * size
        for line in lines:
            line.idx += size
            line.lencount += size
            line.array.extend(room)

    return make_room


def _view(values: Any) -> Any:
    """Return an array's numbers where they lie, None where it is no array; while it is kept the array cannot grow."""
    return np.frombuffer(values, "f8") if type(values) is array and len(values) else None


# --- sums -----------------------------------------------------------------------------------------------


def rolling_sums(values: Any, period: int) -> Any:
    """Return ``math.fsum`` of each window of ``period`` values, None where that takes more bits than there are.

    Each value is cut into an upper and a lower whole number.  Both are added up
    without an error, and so their sum is rounded once, as fsum rounds.
    """
    if not np.isfinite(values).all() or (np.signbit(values) & (values == 0)).any():
        return None
    exponents = np.frexp(values[values != 0])[1]
    top, bottom = (int(exponents.max()), int(exponents.min())) if len(exponents) else (0, 0)
    spread = top - bottom
    carried = max(period.bit_length(), 1)
    if bottom < _TINY or _MANTISSA - _HALF + spread + carried > _MANTISSA:
        return None
    if _MANTISSA - _HALF + spread + len(values).bit_length() > _CARRY:
        return None
    upper_unit, lower_unit = math.ldexp(1.0, top - _HALF), math.ldexp(1.0, bottom - _MANTISSA)
    upper = np.floor(values / upper_unit)
    lower = (values - upper * upper_unit) / lower_unit
    return _windows(upper, period) * upper_unit + _windows(lower, period) * lower_unit


def _windows(parts: Any, period: int) -> Any:
    sums = np.concatenate(([0], np.cumsum(parts.astype("i8"))))
    return (sums[period:] - sums[:-period]).astype("f8")


def _average(indicator: Any, start: int, end: int) -> bool:
    return _fill_sums(indicator, start, end, divisor=indicator.p.period)


def _operation(indicator: Any, start: int, end: int) -> bool:
    """Compute SumN, Highest and Lowest."""
    func = inspect.getattr_static(type(indicator), "func", None)
    if isinstance(func, staticmethod):
        func = func.__func__
    if func is math.fsum:
        return _fill_sums(indicator, start, end, divisor=None)
    if func is not max and func is not min:
        return False
    period, source = indicator.p.period, _view(indicator.data.array)
    if source is None or start + 1 < period or period > _WINDOW:
        return False
    values = source[start - period + 1 : end]
    if np.isnan(values).any() or (np.signbit(values) & (values == 0)).any():
        return False
    windows = np.lib.stride_tricks.sliding_window_view(values, period)
    _view(indicator.line.array)[start:end] = windows.max(axis=1) if func is max else windows.min(axis=1)
    return True


def _fill_sums(indicator: Any, start: int, end: int, *, divisor: int | None) -> bool:
    period, source = indicator.p.period, _view(indicator.data.array)
    if source is None or period < 1 or start + 1 < period:
        return False
    sums = rolling_sums(source[start - period + 1 : end], period)
    if sums is None:
        return False
    _view(indicator.line.array)[start:end] = sums if divisor is None else sums / float(divisor)
    return True


# --- each element by itself -------------------------------------------------------------------------------

_OPERATIONS: dict[Any, Any] = {
    operator.__add__: np.add,
    operator.__sub__: np.subtract,
    operator.__mul__: np.multiply,
    operator.__truediv__: np.divide,
    operator.__lt__: np.less,
    operator.__le__: np.less_equal,
    operator.__gt__: np.greater,
    operator.__ge__: np.greater_equal,
    operator.__eq__: np.equal,
    operator.__ne__: np.not_equal,
}
_OWN_OPERATIONS: dict[Any, Any] = {operator.__neg__: np.negative, operator.__abs__: np.absolute, abs: np.absolute}


def _lines_operation(action: Any, start: int, end: int) -> bool:
    operation = _OPERATIONS.get(action.operation)
    if operation is None:
        return False
    left, right = (_operand(each, start, end) for each in (action.a, action.b))
    if left is None or right is None:
        return False
    if operation is np.divide and np.any(right == 0):
        return False  # backtrader raises
    with np.errstate(all="ignore"):  # so does no float of Python
        _view(action.array)[start:end] = operation(left, right)
    return True


def _operand(operand: Any, start: int, end: int) -> Any:
    if isinstance(operand, int | float):
        return float(operand) if abs(operand) < 2**_MANTISSA else None
    values = _view(operand.array) if isinstance(operand, linebuffer.LineBuffer) else None
    return values[start:end] if values is not None else None


def _own_operation(action: Any, start: int, end: int) -> bool:
    operation = _OWN_OPERATIONS.get(action.operation)
    values = _view(action.a.array)
    if operation is None or values is None:
        return False
    _view(action.array)[start:end] = operation(values[start:end])
    return True


def _delay(action: Any, start: int, end: int) -> bool:
    values = _view(action.a.array)
    if values is None or start + action.ago < 0:
        return False
    _view(action.array)[start:end] = values[start + action.ago : end + action.ago]
    return True


def _logic(action: Any, start: int, end: int) -> bool:
    """Compute And and Or of two lines or more; a NaN is true, as in Python."""
    if type(action) not in {functions.And, functions.Or} or len(action.args) < 2:
        return False
    views = [_view(each.array) for each in action.args]
    if any(view is None for view in views):
        return False
    truths = [view[start:end] != 0 for view in views]
    join = np.logical_and if type(action) is functions.And else np.logical_or
    _view(action.array)[start:end] = join.reduce(truths)
    return True


def _nonzero_difference(indicator: Any, start: int, end: int) -> bool:
    """Compute the difference of two lines, or the one before where it is zero."""
    left, right = _view(indicator.data0.array), _view(indicator.data1.array)
    if left is None or right is None or start < 1:
        return False
    target = _view(indicator.line.array)
    with np.errstate(all="ignore"):
        differences = np.concatenate((target[start - 1 : start], left[start:end] - right[start:end]))
    rows = np.arange(len(differences))
    rows[1:][differences[1:] == 0] = 0
    target[start:end] = differences[np.maximum.accumulate(rows)][1:]
    return True


_QUICK: dict[Any, Once] = {
    basicops.Average.once: _average,
    basicops.OperationN.once: _operation,
    linebuffer.LinesOperation.once: _lines_operation,
    linebuffer.LineOwnOperation.once: _own_operation,
    linebuffer._LineDelay.once: _delay,
    functions.MultiLogic.once: _logic,
    crossover.NonZeroDifference.once: _nonzero_difference,
}
