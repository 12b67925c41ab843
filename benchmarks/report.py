"""Results → Markdown, plots, and a comparison with an earlier run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Claim, Table, Timing


@dataclass(frozen=True)
class Section:
    """A table's timings, its claims with their ratios, and how many things each work handles."""

    title: str
    timings: Sequence[Timing]
    claims: Sequence[tuple[Claim, float]]
    counts: Mapping[str, int]
    curves: Mapping[str, Mapping[int, str]]

    @classmethod
    def of(cls, table: Table, timings: Sequence[Timing]) -> Section:
        found = {timing.name: timing for timing in timings}
        ratios = [(claim, claim.ratio(found)) for claim in table.claims]
        return cls(
            table.title,
            timings,
            [(claim, ratio) for claim, ratio in ratios if ratio is not None],
            table.counts,
            table.curves,
        )

    def lines(self) -> Iterator[str]:
        """The section in Markdown."""
        yield f"### {self.title}\n"
        more = list(dict.fromkeys(name for timing in self.timings for name in timing.more))
        heads = ["median s", "low to high", "CPU s", *more, "× the first"]
        heads += ["per s"] * bool(self.counts)
        yield f"| | {' | '.join(heads)} |"
        yield "|---|" + "---|" * len(heads)
        base = self.timings[0].median
        for timing in self.timings:
            others = "".join(
                f" {_figure(timing.more[name])} |" if name in timing.more else " |" for name in more
            )
            yield (
                f"| {timing.name} | {timing.median:.3f} | {timing.low:.3f} to {timing.high:.3f} "
                f"| {timing.cpu:.2f} |{others} {timing.median / base:.2f} |{self._speed(timing)}"
            )
        if self.claims:
            yield "\n| ratio | | wanted |"
            yield "|---|---|---|"
        for claim, ratio in self.claims:
            yield f"| {claim.text} | {ratio:.2f} {claim.unit} | {_wanted(claim, ratio)} |"
        yield ""

    def _speed(self, timing: Timing) -> str:
        """The cell of a table with ``counts``."""
        count = self.counts.get(timing.name)
        if count is None:
            return " |" * bool(self.counts)
        return f" {count / timing.median:,.1f} |"


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 1000 else f"{value:,.0f}"


def _wanted(claim: Claim, ratio: float) -> str:
    unit = claim.unit
    bounds = [f"{claim.least:g} {unit} or more"] if claim.least is not None else []
    bounds += [f"{claim.most:g} {unit} or less"] if claim.most is not None else []
    return ", ".join(bounds) + ("" if claim.holds(ratio) is not False else ": **missed**")


def markdown(facts: dict[str, Any], sections: Sequence[Section]) -> str:
    """All results in Markdown: the machine, the settings, every table."""
    lines = ["# Results\n", f"`{facts['command']}`\n"]
    lines += [f"- {name}: {value}" for name, value in facts.items() if name != "command"]
    lines.append("")
    for section in sections:
        lines += section.lines()
    return "\n".join(lines)


def to_json(facts: dict[str, Any], sections: Sequence[Section]) -> str:
    """All results as JSON, for ``compare``."""
    tables = {
        section.title: {
            "timings": [asdict(timing) for timing in section.timings],
            "ratios": {claim.text: ratio for claim, ratio in section.claims},
        }
        for section in sections
    }
    return json.dumps({"facts": facts, "tables": tables}, indent=1) + "\n"


def compare(file: Path, sections: Sequence[Section]) -> Iterator[str]:
    """Each work's time beside an earlier run's; "changed" when their ranges do not overlap."""
    tables = json.loads(file.read_text())["tables"]
    yield "| work | before | now | now / before | |"
    yield "|---|---|---|---|---|"
    for section in sections:
        before = {
            timing["name"]: Timing(**timing)
            for timing in tables.get(section.title, {"timings": []})["timings"]
        }
        for now in section.timings:
            if now.name in before:
                old = before[now.name]
                verdict = "" if now.high >= old.low and old.high >= now.low else "**changed**"
                yield (
                    f"| {section.title}: {now.name} | {old.median:.3f} | {now.median:.3f} "
                    f"| {now.median / old.median:.2f} | {verdict} |"
                )


def plot(folder: Path, sections: Sequence[Section]) -> None:
    """Write one PNG per table: bars show the median, whiskers the lowest and the highest; or the
    table's curves over the number of jobs."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    for section in sections:
        rows = 12 if section.curves else len(section.timings)
        figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.36 * rows))
        (_draw_curves if section.curves else _draw_bars)(axes, section)
        axes.set_title(section.title)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.savefig(
            folder / (re.sub(r"\W+", "-", section.title).strip("-") + ".png"),
            bbox_inches="tight", dpi=110,
        )  # fmt: skip
        pyplot.close(figure)


def _draw_bars(axes: Any, section: Section) -> None:
    timings = list(reversed(section.timings))
    medians, spread = _spread(timings)
    colours = ["#c44" if "recpack" in timing.name else "#789" for timing in timings]
    axes.barh([timing.name for timing in timings], medians, xerr=spread, color=colours)
    axes.set_xlabel("seconds")


def _draw_curves(axes: Any, section: Section) -> None:
    """Both axes double from mark to mark: work that divides by the jobs is a straight line down."""
    found = {timing.name: timing for timing in section.timings}
    for name, works in section.curves.items():
        timings = [found[work] for work in works.values()]
        medians, spread = _spread(timings)
        style = ":" if name.startswith("floor") else "-"
        axes.errorbar(list(works), medians, spread, label=name, linestyle=style, marker="o")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("jobs")
    axes.set_ylabel("seconds")
    axes.legend()


def _spread(timings: Sequence[Timing]) -> tuple[list[float], list[list[float]]]:
    """The medians, and how far the lowest and the highest are from them."""
    medians = [timing.median for timing in timings]
    below = [timing.median - timing.low for timing in timings]
    return medians, [below, [timing.high - timing.median for timing in timings]]
