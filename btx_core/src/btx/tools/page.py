"""A report as one HTML file that needs nothing else."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ("page",)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0 0 2rem; } th, td { text-align: left; padding: .2rem 1rem .2rem 0; }
th { border-bottom: 1px solid #999; } td { font-family: ui-monospace, monospace; font-size: 13px; }
.good { color: #176f2c; } .bad { color: #b00020; }
"""


def page(
    *,
    title: str,
    verdict: str,
    is_good: bool,
    tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]],
) -> str:
    """Return the page: a verdict, and tables of (heading, columns, rows)."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>',
        f'<h1>{escape(title)}</h1><p class="{"good" if is_good else "bad"}"><b>{escape(verdict)}</b></p>',
    ]
    for heading, columns, rows in tables:
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
        parts.append(f"<h2>{escape(heading)}</h2><table><tr>{head}</tr>{body}</table>")
    return "\n".join([*parts, "</html>"]) + "\n"


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)
