"""The composition of everything: devkit or list → scan → plan → segments → sink → manifest."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from isal import isal_zlib

from recpack.config import Options
from recpack.errors import ConfigError, DataError, ListError, SinkError
from recpack.files import Folder, UnsafePathError
from recpack.labels import detection_widths
from recpack.lst import CheckedLines, format_rows, parse_rows
from recpack.manifest import Manifest, RecFile, describe
from recpack.packer import Failure, pack_segment
from recpack.parallel import run
from recpack.plan import expected_lengths, plan_cuts, segments
from recpack.problems import Action, Problem, quarantine_lines, summary
from recpack.progress import Progress
from recpack.recordio import format_index
from recpack.sample import Int64, Samples
from recpack.scan import ScanResult, scan_devkit
from recpack.sinks.base import INDEX, LIST, QUARANTINE, Sink
from recpack.sinks.file import FileSink, write_file
from recpack.voc import open_devkit

Watch = Callable[[Progress], None] | None


@dataclass(frozen=True)
class Result:
    """What a conversion made. ``problems`` is everything met on the way, in order."""

    manifest: Manifest
    problems: list[Problem]


def convert(
    devkit: str | os.PathLike[str],
    output: str | os.PathLike[str] | Sink,
    *,
    year: str | Sequence[str] | None = None,
    set: str | Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    classes: str | Sequence[str] | Mapping[str, int] = "voc",
    shuffle: int | None = 0,
    precision: int | None = None,
    one_based: bool = False,
    difficult: str = "keep",
    box_policy: str = "repair",
    negatives: str = "drop",
    unknown_class: str = "error",
    size_mismatch: str = "error",
    on_error: str = "fail",
    strict: bool = False,
    resize: int = 0,
    quality: int | None = None,
    encoding: str = "jpg",
    reencode: bool = False,
    center_crop: bool = False,
    jobs: int | None = None,
    backend: str | None = None,
    segment_size: int | str = 16 << 20,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Watch = None,
) -> Result:
    """Convert a Pascal VOC devkit into a ``.rec`` with its ``.idx``, ``.lst`` and manifest.

    ``output`` is a path that ends in ``.rec`` (the others stand beside it) or a sink. The other
    arguments are the command line's options; see ``recpack.config.Options``. ``progress`` is
    called with a ``Progress`` as images are done. ``dry_run`` scans, judges and describes, and
    writes nothing.

    The bytes depend on the input and the options alone, never on ``jobs``, ``backend`` or
    ``segment_size``. Peak memory is ``jobs × segment_size`` and less than 300 bytes an image.

    Raises ConfigError for wrong options, DataError when the data is at fault (its ``problems``
    lists everything, and nothing was written), SinkError when the output can't be written.
    """
    options = Options(
        year=year,
        set=set,
        images=images,
        annotations=annotations,
        classes=classes,
        shuffle=shuffle,
        precision=precision,
        one_based=one_based,
        difficult=difficult,
        box_policy=box_policy,
        negatives=negatives,
        unknown_class=unknown_class,
        size_mismatch=size_mismatch,
        on_error=on_error,
        strict=strict,
        resize=resize,
        quality=quality,
        encoding=encoding,
        reencode=reencode,
        center_crop=center_crop,
        jobs=jobs,
        backend=backend,
        segment_size=segment_size,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    if dry_run:
        scan = _scanned(devkit, options, progress)
        size = None if options.changes_images else int(expected_lengths(scan.samples).sum())
        name = output.name if isinstance(output, Sink) else Path(output).name
        rec: RecFile = {"name": name, "bytes": size, "crc32": None}
        return _described(scan, options, rec)
    with _sink(output, options) as sink:
        scan = _scanned(devkit, options, progress)
        rows = CheckedLines(format_rows(scan.samples, options.precision))
        source = _Source(scan.samples, scan.classes.names, scan.problems, rows)
        return _write(source, options, sink, progress)


def write_list(
    devkit: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: Options,
    progress: Watch = None,
) -> Result:
    """Only the rows: a devkit's ``.lst``, the one that ``convert`` would write.

    Nothing is packed, so the result's manifest names no ``.rec``.
    """
    path = Path(output)
    if path.exists() and not (options.overwrite or options.dry_run):
        raise SinkError(f"{path} exists; choose another name or replace it with --overwrite")
    scan = _scanned(devkit, options, progress)
    rows = CheckedLines(format_rows(scan.samples, options.precision))
    if options.dry_run:
        deque(rows, maxlen=0)
    else:
        write_file(path, rows)
    rec: RecFile = {"name": None, "bytes": None, "crc32": None}
    return _described(scan, options, rec, rows.crc32)


def pack(
    rows: str | os.PathLike[str],
    root: str | os.PathLike[str],
    output: str | os.PathLike[str] | Sink,
    options: Options,
    progress: Watch = None,
) -> Result:
    """An existing ``.lst`` and its image root → ``.rec``: what im2rec does, to the byte.

    Rows keep their order, indices and labels, and images pass through unless the options change
    all of them. ``options.classes`` names the classes in the manifest; without it they are named
    by their ids. Where ``on_error`` skips images, the rows left are numbered anew.
    """
    path = Path(rows)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            listed = parse_rows(file, os.fspath(root))
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: can't be read: {error}") from error
    except ListError as error:
        raise ListError(f"{path}: {error}") from None
    if options.center_crop and any(detection_widths(sample.label) for sample in listed):
        raise ConfigError(
            "center_crop: the boxes of a list can't follow the crop; crop with recpack convert"
        )
    names = options.class_map.names if options.classes and options.class_map else ()
    own = isinstance(output, (str, os.PathLike)) and _same_file(path, Path(output))
    with (
        _sink(output, options, spare=(LIST,) if own else ()) as sink,
        path.open(encoding="utf-8", newline="") as file,
    ):
        samples, problems = _measured(listed, options)
        _refuse(problems, options)
        lines = CheckedLines(file)
        if own:  # the sink leaves it alone, but the manifest tells its checksum
            deque(lines, maxlen=0)
        source = _Source(samples, names, problems, lines)
        if len(samples) < len(listed):
            source = source.without([], options)
        return _write(source, options, sink, progress)


def _described(
    scan: ScanResult, options: Options, rec: RecFile, list_crc32: int | None = None
) -> Result:
    names, problems = scan.classes.names, scan.problems
    return Result(describe(scan.samples, names, problems, options, rec, list_crc32), problems)


def _sink(
    output: str | os.PathLike[str] | Sink, options: Options, spare: Sequence[str] = ()
) -> Sink:
    if isinstance(output, Sink):
        return output
    return FileSink(output, overwrite=options.overwrite, spare=spare)


def _same_file(rows: Path, output: Path) -> bool:
    beside = output.with_suffix(LIST)
    return beside.exists() and rows.samefile(beside)


def _scanned(devkit: str | os.PathLike[str], options: Options, progress: Watch) -> ScanResult:
    """The scan, if the policy lets it pass, its samples in the order of the output."""
    scan = scan_devkit(
        open_devkit(
            devkit,
            year=options.year,
            set=options.set,
            images=options.images,
            annotations=options.annotations,
        ),
        options,
        progress,
    )
    _refuse(scan.problems, options, scan.classes.names)
    if not len(scan.samples):
        reasons = summary(scan.problems, scan.classes.names)
        message = f"none of {scan.scanned} annotations gives a sample\n{reasons}"
        raise DataError(message, scan.problems)
    if options.shuffle is not None:
        # RandomState's stream is frozen by NumPy's compatibility policy (NEP 19)
        order = np.random.RandomState(options.shuffle).permutation(len(scan.samples))
        scan = replace(scan, samples=scan.samples.shuffled(order.astype(np.int64)))
    return scan


def _refuse(problems: list[Problem], options: Options, classes: Sequence[str] = ()) -> None:
    fatal = ("error", "warning") if options.strict else ("error",)
    errors = [problem for problem in problems if problem.severity in fatal]
    if errors and options.on_error == "fail":
        raise DataError(summary(errors, classes), problems)


def _measured(samples: Samples, options: Options) -> tuple[Samples, list[Problem]]:
    """A list's samples with the sizes of their image files; where errors are skipped, without the
    files that can't be opened."""
    problems: list[Problem] = []
    sizes = np.full(len(samples), -1, np.int64)

    def note(code: str, path: str, reason: str = "") -> None:
        problems.append(Problem(code, "error", path, _error_action(options), value=reason))

    try:
        with Folder(samples.root, ".") as folder:
            for row, path in enumerate(samples.paths):
                try:
                    file, sizes[row] = folder.open(path)
                    os.close(file)
                except FileNotFoundError:
                    note("image-missing", path)
                except UnsafePathError as error:
                    note("path-unsafe", path, error.strerror or "")
                except OSError as error:
                    note("image-unreadable", path, error.strerror or "")
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{samples.root}: no such folder") from None
    samples = replace(samples, image_bytes=sizes)
    if problems and options.on_error == "skip":
        samples = samples.take(np.flatnonzero(sizes >= 0))
    return samples, problems


def _error_action(options: Options) -> Action:
    return "dropped image" if options.on_error == "skip" else "error"


@dataclass(frozen=True)
class _Source:
    """What is packed: samples, the text of their list, and what is known beside them."""

    samples: Samples
    classes: Sequence[str]
    problems: list[Problem]
    rows: CheckedLines

    def without(self, failures: Sequence[Failure], options: Options) -> _Source:
        """The source less the images that failed, numbered anew, its list written anew."""
        failed = {failure.sample for failure in failures}
        left = [row for row, index in enumerate(self.samples.indices) if index not in failed]
        samples = self.samples.take(np.array(left, np.int64))
        problems = self.problems + _as_problems(failures, options)
        if not len(samples):
            raise DataError("no image is left\n" + summary(problems), problems)
        rows = CheckedLines(format_rows(samples, options.precision))
        return _Source(samples, self.classes, problems, rows)


def _as_problems(failures: Sequence[Failure], options: Options) -> list[Problem]:
    action = _error_action(options)
    return [
        Problem(failure.code, "error", failure.path, action, value=failure.value)
        for failure in failures
    ]


def _write(source: _Source, options: Options, sink: Sink, progress: Watch) -> Result:
    """Pack into an entered sink and publish."""
    rec: RecFile = {"name": sink.name, "bytes": None, "crc32": None}
    describe(source.samples, source.classes, [], options, rec)  # raises before any work is done
    lengths, crc32, failures = _pack(source.samples, options, sink, progress)
    while failures:
        if options.on_error == "fail":
            problems = source.problems + _as_problems(failures, options)
            raise DataError(summary(_as_problems(failures, options)), problems)
        # ids are dense, so an image that turns out bad renumbers all behind it: pack anew
        source = source.without(failures, options)
        lengths, crc32, failures = _pack(source.samples, options, sink, progress)
    size = int(lengths.sum())
    rec = {"name": sink.name, "bytes": size, "crc32": f"{crc32:08x}"}
    offsets = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    made: list[Manifest] = []

    def manifest() -> str:
        made.append(
            describe(
                source.samples, source.classes, source.problems, options, rec, source.rows.crc32
            )
        )
        return made[0].to_json()

    companions: dict[str, Iterable[str]] = {
        INDEX: format_index(source.samples.indices, offsets),
        LIST: source.rows,
    }
    quarantined = quarantine_lines(source.problems)
    if quarantined:
        companions[QUARANTINE] = quarantined
    sink.publish(size, companions, manifest)
    return Result(made[0], source.problems)


def _pack(
    samples: Samples, options: Options, sink: Sink, progress: Watch
) -> tuple[Int64, int, list[Failure]]:
    """Every record's length, int64 (n,), the CRC-32 of the whole, and the images that failed."""
    cuts = plan_cuts(samples, options.segment_bytes)
    work = partial(
        pack_segment,
        encoding=options.image_encoding,
        reencode_all=options.changes_images,
        writer=sink.open(len(cuts) - 1),
    )
    backend = "threading" if sink.in_process else options.backend
    lengths = []
    failures: list[Failure] = []
    done = size = crc32 = 0
    tasks = segments(samples, cuts)
    for packed in run(work, tasks, len(cuts) - 1, jobs=options.jobs, backend=backend):
        lengths.append(packed.lengths)
        failures += packed.failures
        length = int(packed.lengths.sum(dtype=np.int64))
        crc32 = isal_zlib.crc32_combine(crc32, packed.crc32, length)
        size += length
        done += len(packed.lengths)
        if progress is not None:
            progress(Progress("pack", done, len(samples), size))
    return np.concatenate(lengths).astype(np.int64), crc32, failures
