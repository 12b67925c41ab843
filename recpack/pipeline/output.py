"""What the name of an output asks for."""

from __future__ import annotations

import re

from recpack.options import OutputFormat

_ROOT = re.compile(r"(s3://[^/]*)?/*")


def output_format(output: str) -> OutputFormat:
    """``x.rec``, ``x.manifest`` or ``.jsonl``, or a folder, whose name ends in ``/``."""
    if output.endswith((".manifest", ".jsonl")):
        return "augmented-manifest"
    return "image-json" if output.endswith("/") and not is_root(output) else "rec"


def is_root(output: str) -> bool:
    """Whether it names no folder of its own: a bucket, or the root of the file system."""
    return _ROOT.fullmatch(output) is not None
