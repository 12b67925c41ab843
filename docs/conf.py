"""Sphinx: ``make docs``."""

from recpack import __version__

project = "recpack"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_mock_imports = [
    "torch",
    "onnx",
    "waitress",
]  # too large for a page
exclude_patterns = ["_build", "generated"]
html_theme = "furo"
html_title = f"recpack {__version__}"
html_static_path = ["generated/static"]
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 2
autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
