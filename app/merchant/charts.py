"""Lines as inline SVG. Each chart stands beside a table with the same numbers."""

from collections.abc import Sequence
from html import escape
from math import ceil, log10

WIDTH, HEIGHT = 600, 150  # of the drawing; it is stretched to the page's width


def line(numbers: Sequence[int], labels: Sequence[str], title: str) -> str:
    """An area with a line on top. Each point shows its label and number when pointed at."""
    top = ceiling(max(numbers, default=0))
    step = WIDTH / max(1, len(numbers) - 1)
    points = [
        (round(index * step, 1), round(HEIGHT - number / top * HEIGHT, 1))
        for index, number in enumerate(numbers)
    ]
    if len(points) == 1:
        points.append((WIDTH, points[0][1]))
    path = " ".join(f"{x},{y}" for x, y in points)
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>'
        for y in (0, HEIGHT / 2, HEIGHT)
    )
    spots = "".join(
        f'<rect class="spot" x="{round(index * step - step / 2, 1)}" y="0" width="{round(step, 1)}"'
        f' height="{HEIGHT}"><title>{escape(label)}: {number:,}</title></rect>'
        for index, (number, label) in enumerate(zip(numbers, labels, strict=True))
    )
    return (
        f'<svg class="line" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title, quote=True)}">'
        f'<polygon class="area" points="0,{HEIGHT} {path} {WIDTH},{HEIGHT}"/>{grid}'
        f'<polyline class="stroke" points="{path}"/>{spots}</svg>'
    )


def ceiling(number: int) -> int:
    """The next number of one or one and a half digits, for the top of an axis."""
    if number <= 4:
        return 4
    power: int = 10 ** int(log10(number))
    return ceil(number / (power / 2)) * power // 2
