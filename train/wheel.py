"""The installed recpack → a wheel, without a build tool, for a container that is to install it.

Layout: PyPA specifications, "Binary distribution format" and "Recording installed projects".
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from .errors import SpecError

_HOME = Path(__file__).resolve().parents[1]
_PACKAGES = ("recpack", "train")
_WHEEL = "Wheel-Version: 1.0\nGenerator: recpack\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_KEPT = ("entry_points.txt", "licenses/LICENSE")
"""What an installation says about the package beside its metadata."""


def build_wheel() -> tuple[str, bytes]:
    """The wheel's file name and bytes: the same for the same files. Raises SpecError where recpack
    is imported but not installed."""
    try:
        found = distribution("recpack")
    except PackageNotFoundError as error:
        raise SpecError(
            "recpack is not installed; install it with pip, or pip install -e"
        ) from error
    metadata = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    info = f"recpack-{found.version}.dist-info"
    files = dict(_sources())
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    for name in _KEPT:
        text = found.read_text(name)
        if text is not None:
            files[f"{info}/{name}"] = text.encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    return f"recpack-{found.version}-py3-none-any.whl", _zipped(files)


def _sources() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        for path in sorted((_HOME / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(_HOME).as_posix(), path.read_bytes()


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return ("\n".join([*lines, f"{own},,"]) + "\n").encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            entry = ZipInfo(name)  # of 1980, so that no clock is in the bytes
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
