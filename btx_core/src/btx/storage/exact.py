"""Columns of exact decimals, in bulk: from Decimals, to Arrow's decimal128, and to the nearest floats.

A column is one whole number per row and one scale for all: ``value = units / 10**scale``.
Importing this loads numpy and pyarrow.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from typing import Any, Self

import attrs
import numpy as np
import pyarrow as pa

from btx.errors import DataError

__all__ = ("Exact",)

_EXACT_FLOAT = 2**53  # up to here every whole number is a float
_EXACT_POWER = 22  # 10**22 is the last power of ten that is a float
_SHORT, _LONG = 18, 38  # digits that fit into 64 bits, and into decimal128
_SHORT_LIMIT = 10**_SHORT
_EXACTLY = Context(prec=200, traps=[Inexact])


@attrs.frozen(kw_only=True, eq=False)
class Exact:
    """A column: ``units`` are int64 where all have at most 18 digits, Python's integers otherwise.

    ``known`` says which rows have a value; None: all of them. The units of the others are 0.
    """

    units: Any  # numpy array of int64 or object
    scale: int
    known: Any = None  # numpy array of bool

    @classmethod
    def of(cls, values: Sequence[Decimal | None]) -> Self:
        """Return a column of these values, with the smallest scale that is exact.

        Raises:
            DataError: one of them is no finite number, or they need more than 38 digits together.
        """
        scale = 0
        for value in values:
            if value is not None:
                exponent = value.as_tuple().exponent
                if not isinstance(exponent, int) or value.adjusted() >= _LONG:
                    raise DataError(f"{value} is no number a bar can have")
                scale = max(scale, -exponent)
        units = [0 if value is None else int(value.scaleb(scale, _EXACTLY)) for value in values]
        known = None
        if None in values:
            known = np.fromiter((value is not None for value in values), dtype=bool, count=len(values))
        return cls(units=_whole(units), scale=scale, known=known).reduced()

    @classmethod
    def of_arrow(cls, column: Any) -> Self:
        """Return a column of Arrow's decimal128 (chunked or not)."""
        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        known = None
        if array.null_count:
            known = array.is_valid().to_numpy(zero_copy_only=False)
        words = np.frombuffer(array.buffers()[1], dtype="<i8").reshape(-1, 2)
        words = words[array.offset : array.offset + len(array)]
        low, high = words[:, 0], words[:, 1]
        if known is not None:
            low, high = np.where(known, low, 0), np.where(known, high, 0)
        if bool(np.all(high == low >> 63)):
            return cls(units=np.ascontiguousarray(low), scale=array.type.scale, known=known)
        units = [(int(upper) << 64) + (int(lower) & (2**64 - 1)) for lower, upper in zip(low, high, strict=True)]
        return cls(units=_whole(units), scale=array.type.scale, known=known)

    def __len__(self) -> int:
        return len(self.units)

    def arrow(self) -> Any:
        """Return it as decimal128 of 18 digits, or of 38 where it needs them.

        Raises:
            DataError: it needs more.
        """
        if self.scale > _LONG:
            raise DataError(f"a number has {self.scale} decimals, and {_LONG} can be kept")
        if self.units.dtype == object:
            return self._wide_arrow()
        words = np.empty((len(self), 2), dtype="<i8")
        words[:, 0] = self.units
        words[:, 1] = self.units >> 63
        mask = None if self.known is None else pa.array(self.known).buffers()[1]
        kind = pa.decimal128(_SHORT if self.scale <= _SHORT else _LONG, self.scale)
        return pa.Array.from_buffers(kind, len(self), [mask, pa.py_buffer(words)])

    def _wide_arrow(self) -> Any:
        try:
            return pa.array(self.decimals(), type=pa.decimal128(_LONG, self.scale))
        except (pa.ArrowInvalid, ValueError) as error:
            raise DataError(f"numbers of more than {_LONG} digits cannot be kept: {error}") from error

    def decimals(self) -> list[Decimal | None]:
        """Return the values, None where there is none."""
        scale = -self.scale
        values = [Decimal(units).scaleb(scale, _EXACTLY) for units in self.units.tolist()]
        if self.known is None:
            return [*values]
        return [value if known else None for value, known in zip(values, self.known.tolist(), strict=True)]

    def floats(self) -> Any:
        """Return a numpy array of the floats nearest to the values, as ``float(str(value))`` gives them.

        A quotient of two floats is the nearest one to the true quotient, so dividing is right where
        both are exact; the rest goes through its digits.
        """
        if self.units.dtype != object and self.scale <= _EXACT_POWER:
            floats = self.units / np.float64(10**self.scale)
            rest = np.flatnonzero((self.units > _EXACT_FLOAT) | (self.units < -_EXACT_FLOAT))
        else:
            floats = np.zeros(len(self), dtype=np.float64)
            rest = np.arange(len(self))
        for row in rest.tolist():
            floats[row] = float(f"{int(self.units[row])}E-{self.scale}")
        return floats

    def taken(self, rows: Any) -> "Exact":
        """Return the rows of these indices."""
        return Exact(units=self.units[rows], scale=self.scale, known=None if self.known is None else self.known[rows])

    def joined(self, other: "Exact") -> "Exact":
        """Return the rows of this and then of the other, with the smallest scale that is exact."""
        scale = max(self.scale, other.scale)
        units = np.concatenate([_raised(self, scale), _raised(other, scale)])
        known = None
        if self.known is not None or other.known is not None:
            known = np.concatenate([_mask(self), _mask(other)])
        whole = units if units.dtype != object else _whole(units.tolist())
        return Exact(units=whole, scale=scale, known=known).reduced()

    def reduced(self) -> Self:
        """Return it with the smallest scale that is exact."""
        units, scale = self.units, self.scale
        while scale and not (units % 10).any():
            units, scale = units // 10, scale - 1
        if units.dtype == object:
            units = _whole(units.tolist())
        return attrs.evolve(self, units=units, scale=scale)


def _mask(column: Exact) -> Any:
    return np.ones(len(column), dtype=bool) if column.known is None else column.known


def _raised(column: Exact, scale: int) -> Any:
    factor = 10 ** (scale - column.scale)
    units = column.units
    if factor == 1:
        return units
    if units.dtype != object:
        largest = max(int(units.max(initial=0)), -int(units.min(initial=0)))
        if not largest:
            return units
        if largest * factor < _SHORT_LIMIT:
            return units * factor
    return units.astype(object) * factor


def _whole(units: list[int]) -> Any:
    """Return the numbers as int64 where none has more than 18 digits."""
    if all(-_SHORT_LIMIT < each < _SHORT_LIMIT for each in units):
        return np.array(units, dtype=np.int64)
    return np.array(units, dtype=object)
