"""The commands of ``recpack-train`` on models without AWS: serve one here, export one."""

from __future__ import annotations

import argparse

from .cli_parts import Add, local_path, say, split
from .errors import UsageError
from .local import demand_installed
from .service import Service

_MODEL = "folder of a local job, a model.tar.gz (path or s3://…), or a .params beside its graph"
_HERE = (
    "model", "classes", "local", "host", "port", "device", "region", "endpoint_url", "quiet",
)  # fmt: skip
"""Options of ``deploy --local``; the others are SageMaker's."""


def add_commands(command: Add) -> None:
    """Add them to the command line."""
    export = command(
        "export", _export, "write a model as ONNX, its detection included", "models/voc-1 voc.onnx"
    )
    export.add_argument("model", metavar="MODEL", help=_MODEL)
    export.add_argument("output", type=local_path, metavar="FILE.onnx", help="file to write")
    export.add_argument("--classes", metavar="A,B", help="class names (default: the training's)")


def add_local_options(deploy: argparse.ArgumentParser) -> None:
    """Those that ``deploy`` has for a server on this machine."""
    deploy.add_argument(
        "--local", action="store_true",
        help="serve on this machine until Ctrl-C, without AWS; the model is the " + _MODEL,
    )  # fmt: skip
    deploy.add_argument(
        "--port", type=_port, default=8080, metavar="N",
        help="with --local; 0 is any free one (default: %(default)s)",
    )  # fmt: skip
    deploy.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="with --local, where to listen; 0.0.0.0 lets other machines in (default: %(default)s)",
    )  # fmt: skip
    deploy.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="with --local (default: the GPU where there is one)",
    )  # fmt: skip


def serve_here(args: argparse.Namespace, service: Service) -> None:
    """Run ``deploy --local``."""
    if others := [flag for flag in given(args) if flag not in _flags(_HERE)]:
        raise UsageError(f"{', '.join(others)}: not for --local; leave {_it(others)} out")
    demand_installed("torch", "waitress")
    from .ssd.serving import serve

    serve(
        args.model, host=args.host, port=args.port, classes=split(args.classes) or None,
        service=service, device=args.device, say=say,
    )  # fmt: skip


def demand_not_here(args: argparse.Namespace) -> None:
    """Raise UsageError for options that only ``deploy --local`` has."""
    only = _flags(("host", "port", "device"))
    if others := [flag for flag in given(args) if flag in only]:
        raise UsageError(f"{', '.join(others)}: only with --local; leave {_it(others)} out")


def given(args: argparse.Namespace) -> list[str]:
    """The options that have other values than their defaults."""
    options: argparse.ArgumentParser = args.options
    return [
        one.option_strings[-1]
        for one in options._actions
        if one.option_strings and getattr(args, one.dest, one.default) != one.default
    ]


def _flags(names: tuple[str, ...]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names]


def _it(flags: list[str]) -> str:
    return "it" if len(flags) == 1 else "them"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _export(args: argparse.Namespace, service: Service) -> object:
    demand_installed("torch", "onnx")
    from .ssd.export import export

    classes = export(args.model, args.output, split(args.classes) or None, service)
    return {"onnx": str(args.output), "classes": classes and list(classes)}
