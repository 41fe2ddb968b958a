"""Lines and bars as inline SVG. Each chart stands beside a table with the same numbers."""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, log10

WIDTH, HEIGHT = 600, 150  # of the drawing; it is stretched to the page's width

Numbers = Sequence[int | None]  # None: nothing is known there
_Run = list[tuple[float, float]]
_GRID = "".join(
    f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>' for y in (0, HEIGHT / 2, HEIGHT)
)


def line(numbers: Numbers, title: str, others: Numbers = ()) -> str:
    """An area with a line on top, and `others` as a second line, from left to right."""
    top = highest(numbers, others)
    runs = list(_runs(numbers, top))
    areas = "".join(_area(run) for run in runs)
    before = _lines(list(_runs(others, top)), "before")
    return _drawing(title, f"{areas}{_GRID}{before}{_lines(runs, 'stroke')}")


def bars(numbers: Sequence[int], title: str) -> str:
    """A bar for each number. The middle of the first and of the last is at the drawing's edge, as a
    line's first and last points are."""
    top = highest(numbers)
    step = WIDTH / max(1, len(numbers) - 1)
    shapes = "".join(
        f'<rect class="column" x="{round((place - 0.35) * step, 1)}" width="{round(0.7 * step, 1)}"'
        f' y="{round(HEIGHT - height, 1)}" height="{round(height, 1)}"/>'
        for place, number in enumerate(numbers)
        for height in [number / top * HEIGHT]
    )
    return _drawing(title, f"{_GRID}{shapes}")


def highest(numbers: Numbers, others: Numbers = ()) -> int:
    """Where the axis of both ends."""
    return ceiling(max((number for number in (*numbers, *others) if number is not None), default=0))


def ceiling(number: int) -> int:
    """The next number of one or one and a half digits, for the top of an axis."""
    if number <= 4:
        return 4
    power: int = 10 ** int(log10(number))
    return ceil(number / (power / 2)) * power // 2


def _drawing(title: str, shapes: str) -> str:
    return (
        f'<svg class="line" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title, quote=True)}">{shapes}</svg>'
    )


def _runs(numbers: Numbers, top: int) -> Iterator[_Run]:
    """What stands together, as points."""
    step = WIDTH / max(1, len(numbers) - 1)
    run: _Run = []
    for index, number in enumerate([*numbers, None]):
        if number is not None:
            run.append((round(index * step, 1), round(HEIGHT - number / top * HEIGHT, 1)))
        elif run:
            if len(run) == 1:  # a dot would not be seen
                left = WIDTH if len(numbers) == 1 else min(WIDTH, run[0][0] + step / 4)
                run.append((round(left, 1), run[0][1]))
            yield run
            run = []


def _area(run: _Run) -> str:
    (left, _), (right, _) = run[0], run[-1]
    points = f"{left},{HEIGHT} {_points(run)} {right},{HEIGHT}"
    return f'<polygon class="area" points="{points}"/>'


def _lines(runs: list[_Run], kind: str) -> str:
    return "".join(f'<polyline class="{kind}" points="{_points(run)}"/>' for run in runs)


def _points(run: _Run) -> str:
    return " ".join(f"{x},{y}" for x, y in run)
