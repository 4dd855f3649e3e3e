"""A picture of curves over time, with buys and sells marked."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from btx.errors import ConfigError
from btx.tools.files import check_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ("Curve", "Mark", "check_picture", "draw")

_INK, _BUY, _SELL = "#1f4e79", "#1b7f3b", "#b3261e"


@attrs.frozen(kw_only=True)
class Mark:
    """One trade on a curve."""

    time: datetime.datetime
    price: float
    is_buy: bool


@attrs.frozen(kw_only=True)
class Curve:
    """One panel: a line and its marks."""

    title: str
    points: Sequence[tuple[datetime.datetime, float]]
    marks: Sequence[Mark] = ()


def check_picture(path: Path) -> None:
    """Look, before any work is done, whether a picture can be drawn to ``path``.

    Raises:
        ConfigError: matplotlib is not installed, does not draw files of that suffix, or the file cannot be written.
    """
    known = sorted(_figure_class()().canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in known:
        raise ConfigError(f"no picture is drawn as {path.name!r}: end its name in one of {' '.join(known)}")
    check_writable(path)


def _figure_class() -> "type[Figure]":
    try:
        from matplotlib.figure import Figure  # no pyplot: no window system is asked for
    except ImportError:
        raise ConfigError("a picture needs matplotlib: pip install 'btx-core[plot]'") from None
    return Figure


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Write the curves under one another to ``path``, as its suffix says (.png, .svg, .pdf).

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    figure_class = _figure_class()
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure = figure_class(figsize=(11, 3 * len(curves)), layout="constrained")
    axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axis, curve in zip(axes, curves, strict=True):
        axis.plot([time for time, _ in curve.points], [value for _, value in curve.points], color=_INK, linewidth=1)
        for is_buy, marker, colour, label in ((True, "^", _BUY, "buy"), (False, "v", _SELL, "sell")):
            marks = [mark for mark in curve.marks if mark.is_buy is is_buy]
            if marks:
                axis.scatter(
                    [m.time for m in marks],
                    [m.price for m in marks],
                    marker=marker,
                    color=colour,
                    s=36,
                    zorder=3,
                    label=f"{label} ({len(marks)} fills)",
                )
        if curve.marks:
            axis.legend(loc="best", fontsize="small")
        axis.set_title(curve.title, loc="left", fontsize="medium")
        axis.grid(visible=True, alpha=0.25)
        locator = AutoDateLocator(tz=datetime.UTC)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=datetime.UTC))  # type: ignore[no-untyped-call]
    axes[-1].set_xlabel("UTC")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the picture cannot be written to {path}: {error}") from error
