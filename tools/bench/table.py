"""Writes rows as a table for a terminal."""

from collections.abc import Iterable, Sequence

from tools.bench.row import Figures, Row

HEAD = ("work", "unit", "nasfeed", "peer", "ratio", "goal", "")
_VERDICT = {True: "ok", False: "MISSED", None: ""}


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the table; values are the best, with the median in parentheses."""
    cells = [HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table = [_line(row, widths) for row in cells]
    table.insert(1, "  ".join("-" * width for width in widths))
    return table + list(_notes(rows))


def _line(row: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    theirs = f"{row.theirs.name} {_figures(row, row.theirs)}" if row.theirs else "-"
    return (
        row.work,
        row.unit,
        _figures(row, row.ours),
        theirs,
        _ratio(row),
        _goal(row),
        _VERDICT[row.reached],
    )


def summary(row: Row) -> str:
    """Return a row in a few words."""
    theirs = f", {row.theirs.name} {_figures(row, row.theirs)}" if row.theirs else ""
    return f"{_figures(row, row.ours)}{theirs} {row.unit}"


def _figures(row: Row, figures: Figures) -> str:
    text = number(row.best(figures))
    if len(figures.values) > 1:
        text += f" ({number(figures.median)})"
    if figures.cpu_seconds:
        text += f" cpu {number(min(figures.cpu_seconds))}"
    return text


def _ratio(row: Row) -> str:
    if row.ratio is None or row.median_ratio is None:
        return ""
    return f"{number(row.ratio)} ({number(row.median_ratio)})"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign = "<=" if row.better == "less" else ">="
    return f"{sign} {number(row.goal.limit)}{' x' if row.goal.relative else ''}"


def _notes(rows: Iterable[Row]) -> Iterable[str]:
    return (f"  {row.work}: {row.note}" for row in rows if row.note)


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"
