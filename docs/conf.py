"""Sphinx: ``make docs``."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from recpack import __version__

sys.path.insert(0, str(Path(__file__).parent))  # codes.py, parameters.py

project = "recpack"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "codes", "parameters"]
autodoc_mock_imports = [
    "torch",
    "onnx",
    "waitress",
]  # too large for a page
exclude_patterns = ["_build", "generated"]
smartquotes = False  # it makes one dash of the two before an option
html_theme = "furo"
html_title = f"recpack {__version__}"
html_static_path = ["generated/static", "static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 2
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}  # else all that NumPy means by it
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 72
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"  # not what is printed


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", keep_whole)


def keep_whole(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _: object
) -> None:
    """A browser may end a line between the dashes of ``--set``, or after the dot of ``.[ssd]``."""
    if body := context.get("body"):
        context["body"] = re.sub(r'<span class="pre">(?=[-.]\S)', '<span class="pre whole">', body)
