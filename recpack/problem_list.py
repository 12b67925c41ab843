"""Lists of problems, which can be long: grouped by code, and short where a notebook shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from recpack.markup import folded, section, table, text
from recpack.problems import CATALOGUE, Problem, Severity, action_text, count_text

_CODES_IN_REPR = 5
_ROWS_IN_HTML = 20


class Problems(list[Problem]):
    """A list of problems that shows itself as their counts, and in a notebook as a table."""

    def __repr__(self) -> str:
        counts = Counter(problem.code for problem in self).most_common()
        codes = ", ".join(f"{count:,} {code}" for code, count in counts[:_CODES_IN_REPR])
        codes += ", …" if len(counts) > _CODES_IN_REPR else ""
        return f"Problems({len(self):,}{': ' if codes else ''}{codes})"

    def _repr_html_(self) -> str:
        title = count_text(len(self), "problem")
        return section(title, *map(_group_html, groups(self)))


class Group(NamedTuple):
    """The problems of one code and severity."""

    severity: Severity
    code: str
    members: list[Problem]

    @property
    def actions(self) -> str:
        """What was done, with counts: ``2 boxes dropped, 1 clipped``."""
        counts = Counter(problem.action for problem in self.members)
        return ", ".join(
            f"{count:,} {action_text(action, count)}" for action, count in counts.most_common()
        )


def groups(problems: Iterable[Problem]) -> Iterator[Group]:
    """Problems by code: errors first, then warnings and notes, the most frequent first."""
    found: dict[tuple[Severity, str], list[Problem]] = {}
    for problem in problems:
        found.setdefault((problem.severity, problem.code), []).append(problem)
    rank = ("error", "warning", "note")
    for (severity, code), members in sorted(
        found.items(), key=lambda item: (rank.index(item[0][0]), -len(item[1]), item[0][1])
    ):
        yield Group(severity, code, members)


def remedy(severity: Severity, code: str) -> str:
    """What to do about a problem; an error needs an action, whatever the code's own severity."""
    advice = CATALOGUE[code].remedy
    if severity == "error":
        advice = advice.removeprefix("no action needed, or ")
    return advice if advice.startswith("no action needed") else f"remedy: {advice}"


def _group_html(group: Group) -> str:
    severity, code, members = group
    rows = [
        (one.file, one.object or "", one.field, one.detail, action_text(one.action))
        for one in members[:_ROWS_IN_HTML]
    ]
    if len(members) > _ROWS_IN_HTML:
        rows.append((f"… and {len(members) - _ROWS_IN_HTML:,} more", "", "", "", ""))
    title = f"{severity} {code} × {len(members):,}: {CATALOGUE[code].what}; {group.actions}"
    columns = ("file", "object", "field", "value", "action")
    return folded(title, f"<i>{text(remedy(severity, code))}</i>", table(rows, columns))
