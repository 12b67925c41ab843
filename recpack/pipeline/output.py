"""The format of an output, by its name."""

from __future__ import annotations

import re

from recpack.options import OutputFormat

_ROOT = re.compile(r"(s3://[^/]*)?/*")


def output_format(output: str) -> OutputFormat:
    """By ``x.rec``, ``x.manifest``, ``x.jsonl``, or a folder whose name ends in ``/``."""
    if output.endswith((".manifest", ".jsonl")):
        return "augmented-manifest"
    return "image-json" if output.endswith("/") and not is_root(output) else "rec"


def is_root(output: str) -> bool:
    """Whether it is only a bucket, or the root of the file system."""
    return _ROOT.fullmatch(output) is not None
