"""Sphinx: many keywords are a table below a short signature, with their help where they are options
of the command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from inspect import Parameter
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from recpack.settings import options_of

MANY = 12
OTHERS = {  # keywords that are no option
    "classes": "names in the order of their ids",
    "index": "the ``.idx``; by default the one beside the ``.rec``",
    "mapped": "map the file into memory",
    "output": "name the parts after this path; by default after the source",
    "patience": "seconds for which a request that fails is repeated",
    "progress": "called with a ``Progress`` during the work",
    "timeout": "seconds without an answer after which a download is continued",
}


def split(thing: Any) -> tuple[inspect.Signature, list[Parameter], dict[str, Any]]:
    """A signature without its keywords, the keywords if they are a table, the options by name."""
    function = thing.__init__ if inspect.isclass(thing) else thing
    found = inspect.signature(thing)
    closed = getattr(function, "__closure__", None) and inspect.getclosurevars(function).nonlocals
    kind = closed.get("kind") if closed else None
    options = {one.name: one for one in options_of(kind)} if kind else {}
    keywords = [one for one in found.parameters.values() if one.kind is one.KEYWORD_ONLY]
    told = options and all(one.name in options.keys() | OTHERS.keys() for one in keywords)
    if not told and len(keywords) < MANY:
        keywords = []
    return found, keywords, options if told else {}


def shorten(_app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, str] | None:
    if what not in ("function", "class") or name.startswith("recpack.torch."):
        return None
    try:
        found, keywords, _options = split(thing)
    except (TypeError, ValueError):
        return None
    if not keywords:
        return None
    names = {one.name for one in keywords}
    kept = [one for one in found.parameters.values() if one.name not in names]
    short = found.replace(parameters=[*kept, Parameter("options", Parameter.VAR_KEYWORD)])
    arguments, _, result = plain(stringify_signature(short)).partition(" -> ")
    return arguments, "" if what == "class" else result


def name_defaults(_app: Sphinx, _what: str, _name: str, _thing: Any, *rest: Any) -> Any:
    """Defaults that are functions or classes by their names, or Sphinx can't set the signature."""
    _, signature, result = rest
    return (named(signature), result) if signature else None


def named(text: str) -> str:
    text = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)  # of conf.py
    text = re.sub(r"<function <lambda>[^>]*>", "...", text)
    return re.sub(r"<(?:class|function|built-in function) '?([\w.]+)[^>]*>", r"\1", text)


def tabulate(app: Sphinx, what: str, name: str, thing: Any, _: Any, lines: list[str]) -> None:
    if shorten(app, what, name, thing):
        lines += ["", *table(*split(thing)[1:]), ""]


def table(keywords: list[Parameter], options: dict[str, Any]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "   :class: parameters", "")
    yield from row("keyword", "type", "default", *(["meaning"] if options else []))
    for one in keywords:
        option = options.get(one.name)
        choices = option.choices if option else ()
        shown = [f"``{choice!r}``" for choice in choices]
        if choices and one.default is None:
            shown.append("``None``")
        text = ", ".join(shown) or f"``{plain(inspect.formatannotation(one.annotation))}``"
        default = "" if one.default is one.empty else f"``{named(repr(one.default))}``"
        meaning = [option.option.help if option else OTHERS[one.name]] if options else []
        yield from row(f"``{one.name}``", text, default, *meaning)


def row(*cells: str) -> Iterator[str]:
    for number, cell in enumerate(cells):
        yield f"   {'  -' if number else '* -'} {cell.replace('*', chr(92) + '*')}"


def plain(text: str) -> str:
    """Types as one writes them, without the modules that they come from."""
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text.strip("'\""))
    return text.replace("Watch", "Callable[[Progress], None] | None")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-signature", name_defaults)
    app.connect("autodoc-process-docstring", tabulate)
    return {"parallel_read_safe": True}
