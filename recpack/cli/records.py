"""The commands on ``.rec`` files. As in ``datasets``, heavy imports are inside the functions."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from shlex import join

from recpack.cli.datasets import keywords, print_result
from recpack.cli.terminal import block, print_line, print_table, progress_bar
from recpack.errors import ConfigError, DataError, RecordError, RecpackError, SinkError
from recpack.settings import options_of

_MOST = 200
"""Bars of a chart, at most."""


def run_inspect(args: argparse.Namespace) -> object:
    if args.record is not None:
        return _inspect_record(args)
    from recpack.cli.report import bars
    from recpack.records.inspect import inspect

    with progress_bar(args.quiet or args.json) as progress:
        inspection = inspect(args.rec, **keywords(args), progress=progress)

    if not (args.quiet or args.json):
        rows = [
            ("file", inspection.name),
            ("bytes", f"{inspection.bytes:,}"),
            ("records", f"{inspection.records:,}"),
            ("label width", str(inspection.label_widths)),
            ("objects per record", str(inspection.objects)),
            ("image bytes", str(inspection.image_bytes)),
            ("image width", str(inspection.image_widths)),
            ("image height", str(inspection.image_heights)),
            ("image kinds", ", ".join(f"{kind} {n:,}" for kind, n in inspection.kinds.items())),
        ]
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in inspection.label_kinds.items())
        rows.insert(3, ("labels", kinds))
        if inspection.tables:
            rows.append(("without an image", f"{inspection.tables:,} (tables, as of InsightFace)"))
        if (faces := inspection.faces) is not None:
            told = f"{faces.images:,} images of {faces.identities:,} identities (InsightFace)"
            rows += [("faces", told), ("property", str(faces.property or "none"))]
        manifest = inspection.manifest
        rows.append(("manifest", f"version {manifest.format_version}" if manifest else "none"))
        if manifest and manifest.shards not in ((), (manifest.rec,)):
            rows.insert(1, ("shards", f"{len(manifest.shards):,}"))
        print_table(rows)
        for title, counts in (
            ("objects by class", inspection.classes),
            ("images by class", {} if inspection.faces else inspection.class_images),
            ("objects per record", inspection.objects_per_record),
            ("box side (square root of the area, pixels)", inspection.box_sides),
        ):
            shown = dict(islice(counts.items(), _MOST))
            for line in bars(title, shown, block=block()):
                print_line(line)
            if len(counts) > _MOST:
                print_line(f"  and {len(counts) - _MOST:,} more; --json shows all")
    return inspection.as_dict()


def _inspect_record(args: argparse.Namespace) -> object:
    from recpack.data.labels import detection_widths
    from recpack.records.inspect import class_name, image_header
    from recpack.records.reader import RecordReader
    from recpack.storage.paths import base_name

    with RecordReader(args.rec, **keywords(args)) as records:
        try:
            record = records[args.record]
        except IndexError:
            raise DataError(
                f"{args.rec}: no record {args.record}; there are {len(records):,}, from 0"
            ) from None
        manifest = records.manifest()
        file = base_name(records.locate(args.record)[0])
    header = image_header(record)
    boxes = record.boxes.tolist() if detection_widths(record.label) else []
    outcome = {
        "file": file,
        "id": record.id,
        "kind": record.kind,
        "offset": record.offset,
        "label": _finite(record.label.tolist()),
        "class": class_name(float(record.label[0]), manifest) if len(record.label) == 1 else None,
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
        kind = f"{header.kind}, {header.width} x {header.height} pixels" if header else "unreadable"
        kind = "none: the label is a table of ids" if record.kind == "table" else kind
        rows = [("shard", file)] if file != base_name(args.rec) else []
        rows += [
            ("id", str(record.id)),
            ("offset", f"{record.offset:,}"),
            ("image", f"{len(record.image_bytes):,} bytes, {kind}"),
        ]
        if not boxes:
            rows.append(("label", " ".join(f"{value:g}" for value in record.label.tolist())))
        if outcome["class"] is not None:
            rows.append(("class", str(outcome["class"])))
        for box in boxes:
            values = " ".join(f"{value:.4f}" for value in box[1:])
            rows.append((class_name(box[0], manifest), values))
        print_table(rows)
    return outcome


def _finite(values: list[float]) -> list[float | None]:
    """Values for JSON, which has no NaN and no infinity; only a damaged record has them."""
    return [value if math.isfinite(value) else None for value in values]


def run_verify(args: argparse.Namespace) -> object:
    from recpack.records.reader_rules import MEANINGS
    from recpack.records.verify import verify

    with progress_bar(args.quiet or args.json) as progress:
        verification = verify(args.rec, **keywords(args), progress=progress)
    if not (args.quiet or args.json):
        proof = {
            "read": "recpack read every byte",
            "checksum": "the checksum that the store keeps",
            "etag": "the ETag, because the store keeps no checksum",
        }[verification.proof]
        rows = [("sound", args.rec), ("bytes", f"{verification.bytes:,}"), ("proof", proof)]
        if verification.shards:
            rows.append(("shards", f"{verification.shards:,}"))
        if verification.records is not None:
            rows.append(("records", f"{verification.records:,}"))
        if verification.checksum is not None:
            rows.append(("checksum", verification.checksum))
        print_table(rows)
        print_line("")
        print_line("rules that the file keeps")
        print_table([(rule, MEANINGS[rule]) for rule in verification.rules])
        if verification.readers:
            print_line("")
            print_line("what each reader does with it")
            print_table([(one.reader, str(one)) for one in verification.readers])
    return verification.as_dict()


def run_index(args: argparse.Namespace) -> object:
    from recpack.problems import count_text
    from recpack.records.reindex import reindex

    with progress_bar(args.quiet or args.json) as progress:
        index, keys = reindex(args.rec, **keywords(args), progress=progress)
    if not args.json and (keys != range(len(keys))).any():
        print(
            "warning: the keys are not 0, 1, 2, …; MXNet 1 and GluonCV read them, MXNet 2's "
            "DataLoader does not",
            file=sys.stderr,
        )
    if not (args.quiet or args.json):
        print(f"{index}: {count_text(len(keys), 'record')}")
    return {"index": index, "records": len(keys)}


def run_merge(args: argparse.Namespace) -> object:
    from recpack.records.merge import merge

    *others, last = args.rec
    order = f"OUT.rec comes first: {join(['recpack', 'merge', last, args.output, *others])}"
    # other tools name their output last: --overwrite must not cost such a user her first input
    if args.overwrite and _options_of(args, args.output) and _options_of(args, last) == {}:
        raise ConfigError(
            f"{args.output} was not made by merge, but {last} was; {order}\n"
            f"if {args.output} is to be replaced, delete it first"
        )
    try:
        with progress_bar(args.quiet or args.json) as progress:
            manifest = merge(args.output, args.rec, **keywords(args), progress=progress)
    except SinkError as error:
        if "exists; " not in str(error):
            raise
        raise SinkError(f"{error}; OUT.rec comes first") from error
    except RecordError as error:
        if not (isinstance(error.__cause__, FileNotFoundError) and os.path.exists(args.output)):
            raise
        raise RecordError(f"{error}; {order}") from error.__cause__
    if not (args.quiet or args.json):
        print_table([("wrote", args.output), *manifest.rows()])
    return {"output": args.output, "manifest": manifest.as_dict()}


def _options_of(args: argparse.Namespace, rec: str) -> Mapping[str, object] | None:
    """The options in a ``.rec``'s manifest, or None without one; merge has none."""
    from recpack.records.reader import RecordReader
    from recpack.storage.s3.access import Access

    access = {one.name: getattr(args, one.name) for one in options_of(Access)}
    with suppress(RecpackError), RecordReader(rec, mapped=False, **access) as records:
        manifest = records.manifest()
        return None if manifest is None else manifest.options
    return None


def run_shuffle(args: argparse.Namespace) -> object:
    from recpack.pipeline.rewrite import shuffle

    with progress_bar(args.quiet or args.json) as progress:
        result = shuffle(args.rec, args.output, **keywords(args), progress=progress)
    return print_result(args, result)


def run_split(args: argparse.Namespace) -> object:
    from recpack.pipeline.rewrite import split

    with progress_bar(args.quiet or args.json) as progress:
        result = split(args.rec, output=args.output, **keywords(args), progress=progress)
    args.output = args.output or args.rec
    return print_result(args, result)


def run_filter(args: argparse.Namespace) -> object:
    from recpack.pipeline.rewrite import filter

    with progress_bar(args.quiet or args.json) as progress:
        result = filter(args.rec, args.output, **keywords(args), progress=progress)
    return print_result(args, result)


def run_unpack(args: argparse.Namespace) -> object:
    from recpack.records.unpack import unpack

    with progress_bar(args.quiet or args.json) as progress:
        outcome = unpack(args.rec, args.folder, **keywords(args), progress=progress)
    if not (args.quiet or args.json):
        rows = [
            ("unpacked", outcome.folder), ("images", f"{outcome.images:,}"),
            ("annotations", f"{outcome.annotations:,}"),
        ]  # fmt: skip
        if outcome.tables:
            rows.append(("left out", f"{outcome.tables:,} records without an image"))
        print_table(rows)
    return asdict(outcome)


def run_preview(args: argparse.Namespace) -> object:
    from recpack.records.preview import preview

    positions = preview(args.rec, args.output, **keywords(args))
    if not (args.quiet or args.json):
        print(f"{args.output}: records {', '.join(map(str, positions))}")
    return {"output": args.output, "records": positions}
