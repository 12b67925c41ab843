"""The commands on data sets: each makes one call and prints its result.

Every function takes the parsed arguments and returns what ``--json`` prints. Heavy imports are
inside the functions, so that ``--help`` is fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from recpack.cli.terminal import block, is_page, print_line, print_table, progress_bar, scope_text
from recpack.errors import ConfigError, DataError, RecpackError, SinkError
from recpack.settings import options_of

if TYPE_CHECKING:
    from recpack.packing.result import Result
    from recpack.problems import Problem


_REPORTS = (b'{\n "names": [', b'{\n "problem_counts": {')
"""How the reports of check and of the other commands begin."""


def keywords(args: argparse.Namespace) -> dict[str, Any]:
    """The options as keywords, by the names of the command's settings."""
    return {one.name: getattr(args, one.name) for one in options_of(args.settings)}


def run_convert(args: argparse.Namespace) -> object:
    from recpack.pipeline.convert import convert

    with progress_bar(args.quiet) as progress, _report_problems(args) as problems:
        result = convert(args.devkit, args.output, **keywords(args), progress=progress)
        problems += result.problems
    return print_result(args, result)


def run_list(args: argparse.Namespace) -> object:
    from recpack.pipeline.write_list import write_list

    with progress_bar(args.quiet) as progress, _report_problems(args) as problems:
        result = write_list(args.devkit, args.output, **keywords(args), progress=progress)
        problems += result.problems
    return print_result(args, result)


def run_pack(args: argparse.Namespace) -> object:
    from recpack.pipeline.pack import pack

    with progress_bar(args.quiet) as progress, _report_problems(args) as problems:
        result = pack(args.list, args.root, args.output, **keywords(args), progress=progress)
        problems += result.problems
    return print_result(args, result)


@contextmanager
def _report_problems(args: argparse.Namespace) -> Iterator[list[Problem]]:
    """Collect a run's problems and write them to ``--report``, also when the run fails."""
    path = _report_path(args)
    if path is not None and is_page(path):
        raise ConfigError(
            f"report: {path}: this report is JSON, name it .json; recpack check writes pages"
        )
    before = _identity(path)
    problems: list[Problem] = []
    failure = None
    try:
        yield problems
    except RecpackError as error:
        failure = str(error)
        problems += getattr(error, "problems", ())
        raise
    finally:
        if path is not None and (failure is not None or sys.exc_info()[0] is None):
            from recpack.cli.report import problem_report, write_text

            if _identity(path) != before:  # it is a file of the output, or of another run
                raise SinkError(f"{path}: it was written during this run; name another report")
            write_text(path, problem_report(problems, failure))


def _report_path(args: argparse.Namespace) -> Path | None:
    if not args.report:
        return None
    from recpack.storage.paths import demand_local, local_path

    path, output = local_path(args.report), Path(getattr(args, "output", ""))
    rec = path.with_suffix(".rec")
    if path.suffix in (".rec", ".idx", ".lst"):
        raise ConfigError(f"report: {path}: a report is JSON, name it .json")
    is_of_output = output.suffix in (".rec", ".lst") and (
        os.path.abspath(output.with_suffix(".rec")) == os.path.abspath(rec)
    )
    if path.suffix == ".json" and (is_of_output or os.path.lexists(rec)):
        raise ConfigError(f"report: {path} is the name of the manifest of {rec}; name another file")
    if demand_local(path) and not _is_report(path):
        raise SinkError(f"{path} exists, and is no report of recpack; name another file")
    return path


def _is_report(path: Path) -> bool:
    """Whether a file begins as a report, or is empty; else it can be one of the data set's. A link
    is replaced, and its target stays."""
    if path.is_symlink():
        return True
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return not head or head.startswith(_REPORTS) or b": recpack check</title>" in head


def _identity(path: Path | None) -> tuple[int, int] | None:
    with suppress(OSError):
        if path is not None:
            found = os.lstat(path)
            return found.st_ino, found.st_mtime_ns
    return None


def run_check(args: argparse.Namespace) -> object:
    from recpack.cli.report import text_report, write_report
    from recpack.options import CheckOptions
    from recpack.pipeline.check import check_dataset
    from recpack.pipeline.prepare import open_source
    from recpack.workers.settings import DASK, RAY

    report = _report_path(args)
    with progress_bar(args.quiet) as progress:
        options = CheckOptions(**keywords(args), progress=progress)
        dataset = open_source(args.devkit, options)
        check = check_dataset(dataset, options)
    if report is not None:
        here = options.backend not in (DASK, RAY)  # the cluster's connection is closed
        write_report(report, check, dataset, options if here else None)
    if not (args.quiet or args.json):
        for line in text_report(check, block()):
            print_line(line)
        if report is not None:
            print_line(f"wrote {report}")
    args.code = int(check.refused)
    return check.as_dict()


def print_result(args: argparse.Namespace, result: Result) -> object:
    parts = result.parts or [result]
    if not (args.quiet or args.json):
        from recpack.cli.report import problem_lines
        from recpack.pipeline.second_pass import part_path
        from recpack.scanning.settings import PARTS
        from recpack.storage.s3.location import is_s3

        action = "would write" if getattr(args, "dry_run", False) else "wrote"
        for part, name in zip(parts, PARTS, strict=False):
            path = part_path(args.output, name) if result.parts else args.output
            print_table([(action, path)])
            print_table(part.manifest.rows())
        if result.problems:
            for line in problem_lines(result.problems):
                print(line, file=sys.stderr)
        if result.scope is not None:
            print_line(scope_text(sum(part.manifest.num_samples for part in parts), result.scope))
        if action == "wrote" and sys.stdout.isatty() and path[-4:] == ".rec" and not is_s3(path):
            print_line(f"look at it: {join(['recpack', 'preview', path, 'sheet.png'])}")
    if getattr(args, "color", "rgb") != "rgb" and not (args.quiet or args.json):
        print(
            "warning: with --color, images can have other than 3 channels; MXNet, GluonCV and DALI "
            "read them, SageMaker's own algorithm does not (recpack verify --reader sagemaker)",
            file=sys.stderr,
        )
    outcome = {
        "output": args.output,
        "manifest": result.manifest.as_dict(),
        "problems": [problem.as_dict() for problem in result.problems],
    }
    if result.parts:
        outcome["parts"] = [part.manifest.as_dict() for part in parts]
    return outcome


def run_download(args: argparse.Namespace) -> object:
    from recpack.demo.download import TERMS, demand_known, download

    demand_known(args.name)
    if not args.quiet:
        print(TERMS, file=sys.stderr)
    with progress_bar(args.quiet) as progress:
        files = download(args.name, args.folder, **keywords(args), progress=progress)
    if not (args.quiet or args.json):
        for file in files:
            print(file)
    return {"files": [str(file) for file in files]}


def run_demo(args: argparse.Namespace) -> object:
    from recpack.cli.report import write_report
    from recpack.demo.s3_server import is_installed
    from recpack.demo.story import CLASSES, convert_to_s3, make_devkit
    from recpack.options import CheckOptions
    from recpack.pipeline.check import check_dataset
    from recpack.pipeline.convert import convert
    from recpack.pipeline.prepare import open_source
    from recpack.records.preview import preview
    from recpack.records.reader import RecordReader
    from recpack.storage.paths import local_path

    folder = local_path(args.folder, "folder")
    if folder.exists() and any(folder.iterdir()) and not args.overwrite:
        raise DataError(f"{folder} is not empty; choose another DIR, or use --overwrite")
    devkit, output = folder / "VOCdevkit", folder / "train.rec"
    sheet, report = folder / "preview.png", folder / "check.html"
    upload = None
    with progress_bar(args.quiet) as progress:
        make_devkit(devkit, progress=progress)
        result = convert(
            devkit, output, classes=CLASSES, overwrite=args.overwrite, progress=progress
        )
        with RecordReader(output) as records:
            objects = sum(len(record.boxes) for record in records)
        expected = sum(result.manifest.objects.values())
        if objects != expected:
            raise DataError(f"{output}: packed {expected} objects, but read back {objects}")
        preview(output, sheet)
        options = CheckOptions(classes=CLASSES, progress=progress)
        dataset = open_source(devkit, options)
        write_report(report, check_dataset(dataset, options), dataset)
        if is_installed():
            upload = convert_to_s3(devkit, output, progress)
    if not (args.quiet or args.json):
        rows = [
            ("devkit", os.fspath(devkit)),
            ("wrote", os.fspath(output)),
            *result.manifest.rows(),
            ("read back", f"{objects:,} objects, none missing"),
        ]
        if upload is None:
            rows.append(("S3", "skipped: it needs pip install 'recpack[demo]'"))
        else:
            rows += [
                ("server", f"{upload.endpoint_url} (stopped again)"),
                *(("wrote", name) for name in upload.objects),
                ("verified", f"{upload.verification.checksum}, as stored and as read back"),
            ]
        print_table(rows)
        for line in _next_steps(folder):
            print_line(line)
    return {
        "devkit": os.fspath(devkit),
        "output": os.fspath(output),
        "preview": os.fspath(sheet),
        "report": os.fspath(report),
        "manifest": result.manifest.as_dict(),
        "objects": upload.objects if upload else [],
    }


def _next_steps(folder: Path) -> Iterator[str]:
    """What to look at and what to type after the demo."""
    yield ""
    yield "Look at"
    yield f"  {folder / 'preview.png'}  the pictures with their boxes"
    yield f"  {folder / 'check.html'}   the report of the data set, in a browser"
    if all(map(find_spec, ("torch", "onnx", "waitress", "moto", "flask_cors"))):
        yield ""
        yield "The whole story: train a detector, host it, draw what it finds (ten minutes)"
        yield "  python -m recpack.demo.tour recpack-story"
    yield ""
    yield "Your own data"
    yield "  recpack detect my-data.zip    what it is, and the commands for it"
    yield "  recpack convert VOCdevkit train.rec"
    yield "  recpack convert VOCdevkit s3://bucket/prefix/train/train.rec"


def run_s3_cleanup(args: argparse.Namespace) -> object:
    from recpack.pipeline.s3_cleanup import cleanup

    uploads = cleanup(args.prefix, **keywords(args))
    if not (args.quiet or args.json):
        for upload in uploads:
            state = "aborted" if upload.aborted else "open" if args.dry_run else "left"
            size = f"{upload.bytes:,} bytes"
            origin = "" if upload.own else ", not begun by recpack"
            print_line(f"{state}  {upload.location}  {size} since {upload.initiated}{origin}")
        if not uploads:
            print("no open uploads")
        elif not (args.dry_run or all(upload.aborted for upload in uploads)):
            print("use --all to abort the uploads of other programs too")
    return [asdict(upload) for upload in uploads]
