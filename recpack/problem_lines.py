"""Problems as lines: for a terminal, for an error's message, for the quarantine list."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from recpack.display import one_line
from recpack.problem_list import groups
from recpack.problem_list import remedy as remedy
from recpack.problems import CATALOGUE, Problem, count_text

_MAX_SHOWN = 20
_SKIP = "--on-error skip"
_CURES = {
    "path-unsafe": "To read through the links: --follow-links",
    "size-rescale": "If the images were scaled after annotation: --size-mismatch rescale",
    "image-changed": "Run again when nothing writes into the data set",
}
"""What to try where most files have this problem alone."""


def summary(
    problems: Sequence[Problem],
    *,
    all_by: str = "--report FILE",
    way_out: str = "",
    noun: str = "file",
) -> str:
    """Problems for a terminal. The first line says what is wrong with how many files (``noun``),
    and names the ``way_out``; then each code has its problems and a remedy. ``all_by`` is the
    option that lists all."""
    counts = Counter(problem.code for problem in problems)
    codes = ", ".join(f"{count:,} {code}" for code, count in counts.most_common())
    files = count_text(len({problem.file for problem in problems}), noun)
    if len(counts) == 1:
        codes = CATALOGUE[problems[0].code].what
    lines = [f"{files}: {codes}" + (f". {way_out}" if way_out else "")]
    shown = max(_MAX_SHOWN // max(len(counts), 1), 1)
    lines += group_lines(problems, shown)
    if any(count > shown for count in counts.values()):
        lines.append(f"{all_by} lists all")
    return "\n".join(lines)


def way_out(problems: Iterable[Problem], *, left: bool = True) -> str:
    """The option that cures most files, where one cures at least half of them, else the one that
    leaves them out. ``left``: whether other files are left then."""
    cures: dict[str, set[str]] = {}
    for problem in problems:
        # other unsafe paths are no links
        link = problem.code != "path-unsafe" or "--follow-links" in problem.value
        cures.setdefault(problem.file, set()).add(_CURES.get(problem.code, "") if link else "")
    single = [min(several) for several in cures.values() if len(several) == 1]
    best, count = Counter(filter(None, single)).most_common(1)[0] if any(single) else ("", 0)
    others = len(cures) - count
    if count < others or not count:
        return f"To leave out such files: {_SKIP}" if left else ""
    return best + (f"; to leave out the others: {_SKIP}" if others else "")


def group_lines(problems: Iterable[Problem], shown: int) -> Iterator[str]:
    """Problems by code: what each code means, how often, a remedy, and the first ``shown``."""
    for group in groups(problems):
        severity, code, members = group
        yield f"{severity}  {code}: {CATALOGUE[code].what}; {group.actions}"
        yield f"    {remedy(severity, code)}"
        for problem in members[:shown]:
            where = problem.file + (f", object {problem.object}" if problem.object else "")
            value = f"{problem.field} {problem.detail}".strip() if problem.value else ""
            yield one_line(f"    {where}" + (f": {value}" if value else ""))
        if len(members) > shown:
            yield f"    … and {len(members) - shown:,} more"


def unknown_class_lines(
    problems: Iterable[Problem],
    classes: Sequence[str],
    used: Collection[str],
    chosen: str,
    noun: str = "object",
) -> list[str]:
    """What to say of unknown classes: first how many there are and an option that takes them, then
    each one with its number of objects (``noun``). ``used`` are the ``classes`` that objects have:
    an unknown class that is similar to one that is not used shows a typing error in ``classes``.
    ``chosen`` is a name for them."""
    rows = unknown_classes(problems, classes)
    if not rows:
        return []
    meant = {near: name for name, _, near in rows if near and near not in used}
    option = "--classes auto"
    if len(meant) == len(rows) and len(classes) <= _MAX_SHOWN:
        option = "--classes " + shlex.quote(",".join(meant.get(name, name) for name in classes))
    names = ", ".join(name for name, _, _ in rows[:_MAX_SHOWN])
    names += ", …" if len(rows) > _MAX_SHOWN else ""
    count = "1 class is" if len(rows) == 1 else f"{len(rows):,} classes are"
    lines = [f"{count} not in {chosen}: {names}. Run again with {option}"]
    for name, objects, near in rows[:_MAX_SHOWN]:
        hint = f"; {near_hint(name, near, used=near in used)}" if near else ""
        lines.append(f"unknown class {name!r}: {count_text(objects, noun)}{hint}")
    return list(map(one_line, lines))


def near_hint(name: str, near: str, *, used: bool) -> str:
    """What to ask about an unknown class: is it ``near``, or is ``near`` a typing error for it? The
    latter where no object has ``near``."""
    if used:
        return f"did you mean {near!r}?"
    return f"--classes has {near!r}, which no object uses; did you mean {name!r}?"


def unknown_classes(
    problems: Iterable[Problem], classes: Sequence[str]
) -> list[tuple[str, int, str]]:
    """(name, objects, most similar known name or '') of each unknown class, the most frequent
    first."""
    import difflib  # only for messages

    names = Counter(problem.value for problem in problems if problem.code == "class-unknown")
    by_lower_case = {name.lower(): name for name in classes}
    rows = []
    for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0])):
        near = difflib.get_close_matches(name.lower(), by_lower_case, 1)
        rows.append((name, count, by_lower_case[near[0]] if near else ""))
    return rows


def quarantine_lines(problems: Iterable[Problem]) -> list[str]:
    """The quarantine list: ``file TAB code TAB object TAB field TAB value`` for every error that
    dropped an image. Tabs, line breaks and control characters are escaped."""
    return [
        "\t".join(map(one_line, [
            problem.file, problem.code, str(problem.object), problem.field,
            " ".join(problem.value.split()),
        ])) + "\n"
        for problem in problems
        if problem.severity == "error" and problem.action == "dropped image"
    ]  # fmt: skip
