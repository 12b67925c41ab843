"""Sphinx: a problem code that a page names leads to what it means."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

from recpack.problems import CATALOGUE

PAGE = "reference/problems"


def link(app: Sphinx, tree: nodes.document, page: str) -> None:
    for literal in list(tree.findall(nodes.literal)):
        code = literal.astext()
        is_free = page != PAGE and not isinstance(literal.parent, nodes.reference)
        if is_free and code in CATALOGUE:
            address = f"{app.builder.get_relative_uri(page, PAGE)}#{code}"
            linked = nodes.reference("", "", literal.deepcopy(), refuri=address, internal=True)
            literal.replace_self(linked)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True}
