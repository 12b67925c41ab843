"""Cells run as the kernel of a notebook runs them: by IPython's shell, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.support.missing import missing

_SHELL = """
import json, sys
from IPython.core.completer import provisionalcompleter
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

outputs = []

class Hook(DisplayHook):
    def write_output_prompt(self):
        pass
    def write_format_data(self, data, metadata=None):
        outputs.append(("result", data))

class Publisher(DisplayPublisher):
    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_):
        outputs.append(("update" if update else "display", data))

class Shell(InteractiveShell):
    displayhook_class, display_pub_class = Hook, Publisher
    kernel = None  # its name is what tells a notebook from a terminal

cells, beginnings = json.load(sys.stdin)
shell = Shell.instance()
printed, sys.stdout = sys.stdout, sys.stderr
for cell in cells:
    shell.run_cell(cell).raise_error()
completions = []
for text in beginnings:
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    completions.append([one.text.lstrip(".") for one in found])
shell.history_manager.end_session()
text = [(kind, {name: str(value) for name, value in data.items()}) for kind, data in outputs]
json.dump([text, completions], printed)
"""


class Output(NamedTuple):
    """What a cell shows. ``kind``: ``result``, ``display``, or an ``update`` of a display; ``data``
    by MIME type."""

    kind: str
    data: dict[str, str]

    @property
    def html(self) -> str:
        return self.data["text/html"]

    @property
    def text(self) -> str:
        return self.data["text/plain"]


def needs_ipython() -> None:
    if importlib.util.find_spec("IPython") is None:
        missing("IPython", "pip install ipython")


def run_cells(
    cells: Sequence[str], beginnings: Sequence[str] = (), **environment: str
) -> tuple[list[Output], list[list[str]]]:
    """What the cells show, and what completes each of the ``beginnings`` behind them."""
    needs_ipython()
    done = subprocess.run(
        [sys.executable, "-c", _SHELL],
        input=json.dumps([cells, beginnings]),
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outputs: list[tuple[str, dict[str, Any]]]
    outputs, completions = json.loads(done.stdout)
    return [Output(*one) for one in outputs], completions
