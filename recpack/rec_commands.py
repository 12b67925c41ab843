"""The commands on finished ``.rec`` files: inspect, verify, index, merge, unpack, preview, and the
clean-up of uploads. As in ``commands``, heavy imports happen inside.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import Any

from recpack.errors import ConfigError, DataError, SinkError


def _access(args: argparse.Namespace) -> dict[str, Any]:
    return {"endpoint_url": args.endpoint_url, "requester_pays": args.requester_pays}


def run_inspect(args: argparse.Namespace) -> object:
    if args.record is not None:
        return _inspect_record(args)
    from recpack.inspection import inspect_rec
    from recpack.report import bars
    from recpack.terminal import block, print_table, progress_bar

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
            for line in bars(title, counts, block=block()):
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
            jobs=args.jobs, backend=args.backend, progress=progress, **_access(args),
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
    from recpack.report import manifest_rows
    from recpack.terminal import print_table, progress_bar

    with progress_bar(args.quiet or args.json) as progress:
        manifest = merge(
            args.output, args.rec, overwrite=args.overwrite, progress=progress, **_access(args)
        )
    if not (args.quiet or args.json):
        print_table([("wrote", args.output), *manifest_rows(manifest)])
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
