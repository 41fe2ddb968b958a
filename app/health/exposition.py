"""Prometheus's text format.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from app.metrics.histograms import Metric
from app.metrics.reading import Observed

Value = float | None
_NONE: Mapping[str, object] = {}


@dataclass
class Family:
    """A metric with its samples. A value of None could not be read: its sample is left out, and the
    whole family where none is left. A 0 in its place would say that a counter was set back."""

    name: str
    type: str
    help: str
    samples: list[str] = field(default_factory=list)

    def add(self, value: Value, labels: Mapping[str, object] = _NONE, *, suffix: str = "") -> None:
        if value is not None:
            self.samples.append(f"{self.name}{suffix}{_labels(labels)} {value}")

    def lines(self) -> Iterator[str]:
        if self.samples:
            yield f"# HELP {self.name} {_escaped(self.help)}"
            yield f"# TYPE {self.name} {self.type}"
            yield from self.samples


def gauge(name: str, text: str, value: Value = None) -> Family:
    family = Family(name, "gauge", text)
    family.add(value)
    return family


def counter(name: str, text: str) -> Family:
    return Family(name, "counter", text)


def histogram(metric: Metric, series: Mapping[tuple[str, ...], Observed]) -> Family:
    family = Family(metric.name, "histogram", metric.help)
    bounds = [*map(str, metric.bounds), "inf"]
    for values, observed in sorted(series.items()):
        labels = dict(zip(metric.labels, values, strict=False))
        counts = list(accumulate(observed.counts.get(bound, 0) for bound in bounds))
        for bound, count in zip(bounds, counts, strict=True):
            le = "+Inf" if bound == "inf" else bound
            family.add(count, {**labels, "le": le}, suffix="_bucket")
        family.add(observed.sum, labels, suffix="_sum")
        family.add(counts[-1], labels, suffix="_count")
    return family


def rendered(families: Iterable[Family]) -> str:
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _labels(labels: Mapping[str, object]) -> str:
    pairs = ",".join(
        f'{name}="{_escaped(str(value), quotes=True)}"' for name, value in labels.items()
    )
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
