"""What each command does: options from the arguments, one call, its result for a person.

Every function takes the parsed arguments and returns what ``--json`` prints. Heavy imports happen
inside, so that ``--help`` costs nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpack.errors import ConfigError, DataError, SinkError

if TYPE_CHECKING:
    from recpack.assembly import Result
    from recpack.config import Options
    from recpack.manifest import Manifest
    from recpack.problems import Problem


def _access(args: argparse.Namespace) -> dict[str, Any]:
    return {"endpoint_url": args.endpoint_url, "requester_pays": args.requester_pays}


def _options(args: argparse.Namespace) -> Options:
    from recpack.config import Options

    known = {field.name for field in fields(Options) if field.init}
    return Options(**{name: value for name, value in vars(args).items() if name in known})


def run_convert(args: argparse.Namespace) -> object:
    from recpack.conversion import convert_devkit
    from recpack.terminal import progress_bar

    with progress_bar(args.quiet) as progress, _reported(args) as reported:
        result = convert_devkit(args.devkit, args.output, _options(args), progress)
        reported += result.problems
    return _converted(args, result)


def run_list(args: argparse.Namespace) -> object:
    from recpack.conversion import write_list
    from recpack.terminal import progress_bar

    with progress_bar(args.quiet) as progress, _reported(args) as reported:
        result = write_list(args.devkit, args.output, _options(args), progress)
        reported += result.problems
    return _converted(args, result)


def run_pack(args: argparse.Namespace) -> object:
    from recpack.conversion import pack
    from recpack.terminal import progress_bar

    with progress_bar(args.quiet) as progress, _reported(args) as reported:
        result = pack(args.list, args.root, args.output, _options(args), progress)
        reported += result.problems
    return _converted(args, result)


@contextmanager
def _reported(args: argparse.Namespace) -> Iterator[list[Problem]]:
    """Collects a run's problems, and writes them to ``--report`` also when the run fails."""
    from recpack.report import PAGES, problem_report, write_text

    path = _report_path(args)
    if path is not None and path.suffix in PAGES:
        raise ConfigError(
            f"report: {path} would be a page, which recpack check makes; this is JSON"
        )
    problems: list[Problem] = []
    try:
        yield problems
    except DataError as error:
        problems += error.problems
        raise
    finally:
        if path is not None:
            write_text(path, problem_report(problems))


def _report_path(args: argparse.Namespace) -> Path | None:
    from recpack.s3.location import is_s3

    if is_s3(args.report):
        raise ConfigError(f"report: {args.report} is on S3; name a file of this machine")
    return Path(args.report) if args.report else None


def run_check(args: argparse.Namespace) -> object:
    from recpack.checking import check_devkit
    from recpack.devkit import open_devkit
    from recpack.report import text_report, write_report
    from recpack.terminal import progress_bar

    options = _options(args)
    report = _report_path(args)
    devkit = open_devkit(args.devkit, options, every_set=True)
    with progress_bar(args.quiet) as progress:
        found = check_devkit(devkit, options, progress)
    if report is not None:
        write_report(report, found, devkit)
    if not (args.quiet or args.json):
        for line in text_report(found, _block()):
            print(line)
    args.code = int(found.refused)
    return found.as_dict()


def _block() -> str:
    """What bars are made of: a terminal of another encoding has no block."""
    return "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"


def _converted(args: argparse.Namespace, result: Result) -> object:
    parts = result.parts or [result]
    if not (args.quiet or args.json):
        from recpack.config import SPLIT_NAMES
        from recpack.conversion import part_path
        from recpack.report import problem_lines
        from recpack.terminal import print_table

        done = "would write" if getattr(args, "dry_run", False) else "wrote"
        for part, name in zip(parts, SPLIT_NAMES, strict=False):
            place = part_path(args.output, name) if result.parts else args.output
            print_table([(done, place)])
            print_table(_manifest_rows(part.manifest))
        if result.problems:
            for line in problem_lines(result.problems):
                print(line, file=sys.stderr)
    outcome = {
        "output": args.output,
        "manifest": json.loads(result.manifest.to_json()),
        "problems": [problem.as_dict() for problem in result.problems],
    }
    if result.parts:
        outcome["parts"] = [json.loads(part.manifest.to_json()) for part in parts]
    return outcome


def _manifest_rows(manifest: Manifest) -> list[tuple[str, str]]:
    rows = [("samples", f"{manifest.num_samples:,}")]
    if manifest.rec["bytes"] is not None:
        rows.append(("bytes", f"{manifest.rec['bytes']:,}"))
    present = {name: count for name, count in manifest.objects.items() if count}
    counts = ", ".join(f"{name} {count:,}" for name, count in list(present.items())[:20])
    rows += [
        ("classes", f"{len(manifest.classes)}"),
        ("objects", f"{sum(present.values()):,} ({counts})" if present else "0"),
        ("label width", f"{manifest.label_width}"),
    ]
    for action, codes in manifest.problems.items():
        rows.append((action, ", ".join(f"{count:,} {code}" for code, count in codes.items())))
    return rows


def run_inspect(args: argparse.Namespace) -> object:
    if args.record is not None:
        return _inspect_record(args)
    from recpack.inspection import inspect_rec
    from recpack.report import bars
    from recpack.terminal import print_table, progress_bar

    with progress_bar(args.quiet or args.json) as progress:
        found = inspect_rec(args.rec, progress, **_access(args))

    if not (args.quiet or args.json):
        rows = [
            ("file", found.name),
            ("bytes", f"{found.bytes:,}"),
            ("records", f"{found.records:,}"),
            ("label width", str(found.label_widths)),
            ("objects a record", str(found.objects)),
            ("image bytes", str(found.image_bytes)),
            ("image width", str(found.image_widths)),
            ("image height", str(found.image_heights)),
            ("image kinds", ", ".join(f"{kind} {n:,}" for kind, n in found.kinds.items())),
        ]
        if found.scalar_labels:
            rows.append(("scalar labels", f"{found.scalar_labels:,}"))
        manifest = found.manifest
        rows.append(("manifest", f"version {manifest.format_version}" if manifest else "none"))
        print_table(rows)
        for title, counts in (
            ("objects by class", found.classes),
            ("objects a record", found.objects_per_record),
            ("box side (square root of the area, pixels)", found.box_sides),
        ):
            for line in bars(title, counts, block=_block()):
                print(line)
    return found.as_dict()


def _inspect_record(args: argparse.Namespace) -> object:
    from recpack.inspection import class_name, image_header
    from recpack.labels import detection_widths
    from recpack.manifest import manifest_beside
    from recpack.reader import RecordReader
    from recpack.s3.access import Access

    with RecordReader(args.rec, **_access(args)) as records:
        try:
            record = records[args.record]
        except IndexError:
            raise DataError(
                f"{args.rec}: no record {args.record}; there are {len(records):,}, from 0"
            ) from None
    manifest = manifest_beside(args.rec, Access(**_access(args)))
    header = image_header(record)
    boxes = record.boxes.tolist() if detection_widths(record.label) else []
    outcome = {
        "id": record.id,
        "offset": record.offset,
        "label": _finite(record.label.tolist()),
        "boxes": [
            {
                "class": class_name(box[0], manifest),
                "box": _finite(box[1:5]),
                "extra": _finite(box[5:]),
            }
            for box in boxes
        ],
        "image": {"bytes": len(record.image_bytes)} | (header._asdict() if header else {}),
    }
    if not (args.quiet or args.json):
        from recpack.terminal import print_table

        what = f"{header.kind}, {header.width} x {header.height} pixels" if header else "unreadable"
        rows = [
            ("id", str(record.id)),
            ("offset", f"{record.offset:,}"),
            ("image", f"{len(record.image_bytes):,} bytes, {what}"),
        ]
        if not boxes:
            rows.append(("label", " ".join(f"{value:g}" for value in record.label.tolist())))
        for box in boxes:
            values = " ".join(f"{value:.4f}" for value in box[1:])
            rows.append((class_name(box[0], manifest), values))
        print_table(rows)
    return outcome


def _finite(values: list[float]) -> list[float | None]:
    """JSON knows no NaN and no infinity, which only a damaged record has."""
    return [value if math.isfinite(value) else None for value in values]


def run_verify(args: argparse.Namespace) -> object:
    from recpack.terminal import print_table, progress_bar
    from recpack.verification import verify

    with progress_bar(args.quiet or args.json) as progress:
        found = verify(
            args.rec, deep=args.deep, reader=args.reader,
            against=tuple(args.against) if args.against else None,
            progress=progress, **_access(args),
        )  # fmt: skip
    if not (args.quiet or args.json):
        how = {
            "read": "every byte was read",
            "checksum": "the checksum that the store keeps of it",
            "etag": "its ETag, as the store keeps no checksum",
        }[found.proof]
        rows = [("sound", args.rec), ("bytes", f"{found.bytes:,}"), ("proof", how)]
        if found.records is not None:
            rows.append(("records", f"{found.records:,}"))
        if found.checksum is not None:
            rows.append(("checksum", found.checksum))
        print_table(rows)
    return found.as_dict()


def run_index(args: argparse.Namespace) -> object:
    from recpack.indexing import rebuild_index
    from recpack.terminal import progress_bar

    with progress_bar(args.quiet or args.json) as progress:
        place, keys = rebuild_index(
            args.rec, overwrite=args.overwrite, progress=progress, **_access(args)
        )
    if not args.json and (keys != range(len(keys))).any():
        print(
            "warning: the records' ids are not 0, 1, 2, …; MXNet's RecordFileDataset looks for "
            "those, so pack the list anew for it",
            file=sys.stderr,
        )
    if not (args.quiet or args.json):
        print(f"{place}: {len(keys):,} records")
    return {"index": place, "records": len(keys)}


def run_merge(args: argparse.Namespace) -> object:
    from recpack.merging import merge
    from recpack.terminal import print_table, progress_bar

    with progress_bar(args.quiet or args.json) as progress:
        manifest = merge(
            args.output, args.rec, overwrite=args.overwrite, progress=progress, **_access(args)
        )
    if not (args.quiet or args.json):
        print_table([("wrote", args.output), *_manifest_rows(manifest)])
    return {"output": args.output, "manifest": json.loads(manifest.to_json())}


def run_unpack(args: argparse.Namespace) -> object:
    from recpack.terminal import print_table, progress_bar
    from recpack.unpacking import unpack

    with progress_bar(args.quiet or args.json) as progress:
        found = unpack(
            args.rec, args.folder, overwrite=args.overwrite, progress=progress, **_access(args)
        )
    if not (args.quiet or args.json):
        print_table([
            ("unpacked", found.folder), ("images", f"{found.images:,}"),
            ("annotations", f"{found.annotations:,}"),
        ])  # fmt: skip
    return asdict(found)


def run_preview(args: argparse.Namespace) -> object:
    from recpack.preview import preview

    try:
        records = None if args.records is None else [int(one) for one in args.records.split(",")]
    except ValueError:
        raise ConfigError(f"records: {args.records!r}; write positions, like 0,7,12") from None
    shown = preview(
        args.rec, args.output, records=records, count=args.count, seed=args.seed, **_access(args)
    )
    if not (args.quiet or args.json):
        print(f"{args.output}: records {', '.join(map(str, shown))}")
    return {"output": args.output, "records": shown}


def run_s3_cleanup(args: argparse.Namespace) -> object:
    from recpack.s3.access import PREFLIGHT_PATIENCE, Access
    from recpack.s3.cleanup import clean_up

    access = Access(**_access(args), patience=PREFLIGHT_PATIENCE)
    try:
        found = clean_up(args.prefix, access, others=args.all, dry_run=args.dry_run)
    except OSError as error:
        raise SinkError(f"{args.prefix}: {error}") from error
    if not (args.quiet or args.json):
        for upload in found:
            done = "aborted" if upload.aborted else "open" if args.dry_run else "left"
            whose = "" if upload.own else ", not begun by recpack"
            print(
                f"{done}  {upload.location}  {upload.bytes:,} bytes since {upload.initiated}{whose}"
            )
        if not found:
            print("no open uploads")
        elif not (args.dry_run or all(upload.aborted for upload in found)):
            print("--all aborts those of others too")
    return [asdict(upload) for upload in found]


def run_download(args: argparse.Namespace) -> object:
    from recpack.downloading import TERMS, download
    from recpack.terminal import progress_bar

    if not args.quiet:
        print(TERMS, file=sys.stderr)
    with progress_bar(args.quiet) as progress:
        files = download(args.name, args.folder, mirror=args.mirror, progress=progress)
    if not (args.quiet or args.json):
        for file in files:
            print(file)
    return {"files": [str(file) for file in files]}


def run_demo(args: argparse.Namespace) -> object:
    from recpack.conversion import convert
    from recpack.demo import CLASSES, make_devkit, through_s3
    from recpack.reader import RecordReader
    from recpack.s3.loopback import is_installed
    from recpack.terminal import print_table, progress_bar

    folder = Path(args.folder)
    if folder.exists() and any(folder.iterdir()) and not args.overwrite:
        raise DataError(f"{folder} is not empty; choose another DIR, or use --overwrite")
    devkit, output = folder / "VOCdevkit", folder / "train.rec"
    stored = None
    with progress_bar(args.quiet) as progress:
        make_devkit(devkit, progress=progress)
        result = convert(
            devkit, output, classes=CLASSES, overwrite=args.overwrite, progress=progress
        )
        with RecordReader(output) as records:
            objects = sum(len(record.boxes) for record in records)
        expected = sum(result.manifest.objects.values())
        if objects != expected:
            raise DataError(f"{output}: read back {objects} objects, packed {expected}")
        if is_installed():
            stored = through_s3(devkit, output, progress)
    if not (args.quiet or args.json):
        rows = [
            ("devkit", os.fspath(devkit)),
            ("wrote", os.fspath(output)),
            *_manifest_rows(result.manifest),
            ("read back", f"{objects:,} objects, all there"),
        ]
        if stored is None:
            rows.append(("S3", "left out: it needs pip install 'recpack[demo]'"))
        else:
            rows += [
                ("server", f"{stored.endpoint_url} (stopped again)"),
                *(("wrote", name) for name in stored.objects),
                ("verified", f"{stored.verified.checksum}, kept by the server and read back"),
            ]
        print_table(rows)
        print(
            "\nThe same for your own data:\n"
            "  recpack convert VOCdevkit train.rec --year 2007 --classes voc\n"
            "  recpack convert VOCdevkit s3://bucket/prefix/train/train.rec\n"
            "  recpack verify s3://bucket/prefix/train/train.rec\n"
            "  recpack inspect s3://bucket/prefix/train/train.rec"
        )
    return {
        "devkit": os.fspath(devkit),
        "output": os.fspath(output),
        "manifest": json.loads(result.manifest.to_json()),
        "objects": stored.objects if stored else [],
    }
