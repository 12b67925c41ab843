"""``recpack check``: scan a data set, count and report; write nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recpack._version import __version__
from recpack.columns import Float32, Int64
from recpack.data.annotation import LabelKind
from recpack.data.labels import class_ids, label_shape, object_table
from recpack.data.samples import Samples
from recpack.data.statistics import ASPECTS, BOX_SIDES, OBJECTS, Spread, histogram
from recpack.display import brief
from recpack.markup import count_table, section, table
from recpack.options import CheckOptions
from recpack.pipeline.prepare import fatal_problems, open_source
from recpack.pipeline.reach import prove_reach
from recpack.problem_lines import unknown_classes
from recpack.problem_list import Problems
from recpack.problems import CATALOGUE, Problem, count_text
from recpack.scanning.duplicates import duplicate_groups
from recpack.scanning.run import ScanResult, scan_dataset
from recpack.settings import options_of, takes
from recpack.sources.base import Dataset, Scope
from recpack.storage.paths import base_name
from recpack.storage.s3.access import Access
from recpack.storage.trees.open import Root
from recpack.workers.cluster import connect
from recpack.workers.settings import Cluster, Workers

_SEVERAL = ("boxes", "classes")
"""Labels of which an image can have several."""
_EXAMPLES, _EACH = 160, 8
"""Examples of all classes together, and the most of each."""
_CLASSES = 320
"""The most classes that have an example."""


@dataclass(frozen=True, repr=False)
class Check:
    """The numbers of a data set.

    ``annotations`` counts those read, ``samples`` those that ``convert`` would pack. ``labels`` is
    their kind; without boxes, each class of an image is an object. ``classes`` counts objects and
    ``class_images`` images by class name, in the order of ids; ``unknown_classes`` counts objects
    by name, and ``nearest_classes`` has the most similar known name; ``image_sets`` counts samples
    by image set, and ``scope`` tells the images of the data set that were not read. The histograms
    count boxes (``box_sides`` in pixels, ``aspects`` width over height) and images
    (``objects_per_image``). Of each class with boxes, ``class_sides`` has the sides of its boxes,
    and ``class_side_counts`` their numbers below 8, 16, 32, 64, 96, 128, 256, 512 pixels, and the
    rest. ``duplicates`` are groups of image paths with equal bytes. ``refused``: ``convert`` with
    the same options would fail; ``fatal`` counts the problems for which it would. ``names`` are
    those of the folder, the file or the archives, without where they are, and ``options`` those
    that are not the default. ``examples`` are samples of every class, spread over the data set; of
    more than 320 classes only the first have some.
    """

    names: list[str]
    options: Mapping[str, Any]
    recpack_version: str
    annotations: int
    samples: int
    labels: LabelKind
    objects: int
    label_width: int
    classes: dict[str, int]
    class_images: dict[str, int]
    unknown_classes: dict[str, int]
    nearest_classes: dict[str, str]
    image_sets: dict[str, int]
    image_widths: Spread
    image_heights: Spread
    objects_per_image: dict[str, int]
    box_sides: dict[str, int]
    aspects: dict[str, int]
    class_sides: dict[str, Spread]
    class_side_counts: dict[str, list[int]]
    duplicates: list[list[str]]
    problems: Problems
    fatal: int
    refused: bool
    scope: Scope
    examples: Samples = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; problems also counted by code."""
        values = {
            name: value if not isinstance(value, Spread) else vars(value)
            for name, value in vars(self).items()
            if name != "examples"
        }
        values["class_sides"] = {name: vars(sides) for name, sides in self.class_sides.items()}
        codes = Counter(problem.code for problem in self.problems)
        values["problem_counts"] = dict(codes.most_common())
        values["problems"] = [problem.as_dict() for problem in self.problems]
        values["scope"] = asdict(self.scope)
        return values

    def __repr__(self) -> str:
        return brief(self, **self._facts(), problems=len(self.problems), refused=self.refused)

    def _facts(self) -> dict[str, object]:
        names = ("annotations", "samples", "objects")
        return {name: getattr(self, name) for name in names} | {"classes": len(self.classes)}

    def _repr_html_(self) -> str:
        count = count_text(self.fatal, "error") if self.fatal else "no sample is left"
        title = f"convert would fail: {count}" if self.refused else "Ready to convert"
        noun = "objects" if self.labels == "boxes" else "images"
        rows = [
            *self._facts().items(), ("label width", self.label_width),
            ("image width", self.image_widths), ("image height", self.image_heights),
        ]  # fmt: skip
        return section(
            title, table(rows), count_table(f"{noun} by class", self.classes),
            count_table("unknown classes", self.unknown_classes), self.problems._repr_html_(),
        )  # fmt: skip


@takes(CheckOptions)
def check(devkit: Root, options: CheckOptions) -> Check:
    """Scan a data set by the policies and count; bad data is in ``problems``. It writes nothing.
    The keywords are the command line's options.

    It reads the image sets that ``convert`` with the same options reads; ``set="all"`` reads every
    one, and finds images that are in two of them.
    """
    return check_dataset(open_source(devkit, options), options)


def check_dataset(dataset: Dataset, options: CheckOptions) -> Check:
    """``check`` of an open data set."""
    with connect(options):
        prove_reach(dataset.root, [], options)
        return _check(dataset, options)


def _check(dataset: Dataset, options: CheckOptions) -> Check:
    scan = scan_dataset(dataset, options, options.watch)
    duplicates, duplicate_problems = _duplicates(scan, options)
    problems = Problems(scan.problems + duplicate_problems)
    fatal = len(fatal_problems(scan.problems, options))  # convert looks for no duplicates
    samples = scan.samples
    names = scan.classes.names
    unknown = unknown_classes(scan.problems, names)
    objects, box_owners = object_table(samples)
    sides = scan.sizes[box_owners] * (objects[:, 3:5] - objects[:, 1:3])
    ids, owners = class_ids(samples)
    shape = label_shape(samples) if len(samples) else None
    counts = np.bincount(ids, minlength=len(names))
    images, rows = np.divmod(np.unique(ids * max(len(samples), 1) + owners), max(len(samples), 1))
    per_image = np.bincount(owners, minlength=len(samples)) if scan.labels in _SEVERAL else ()
    sets = np.bincount(scan.image_sets, minlength=len(dataset.image_sets))
    box_sides = np.sqrt(sides.prod(1))
    class_sides, class_side_counts = _by_class(objects[:, 0].astype(np.int64), box_sides, names)
    return Check(
        names=list(dataset.names),
        options=_chosen(options),
        recpack_version=__version__,
        annotations=scan.annotations,
        samples=len(samples),
        labels=scan.labels,
        objects=len(ids),
        label_width=shape.label_width if shape else 0,
        classes=dict(zip(names, counts.tolist(), strict=True)),
        class_images=dict(
            zip(names, np.bincount(images, minlength=len(names)).tolist(), strict=True)
        ),
        unknown_classes={name: count for name, count, _ in unknown},
        nearest_classes={name: near for name, _, near in unknown if near},
        image_sets=dict(zip(dataset.image_sets, sets.tolist(), strict=True)),
        image_widths=Spread.of(scan.sizes[:, 0]),
        image_heights=Spread.of(scan.sizes[:, 1]),
        objects_per_image=histogram(per_image, OBJECTS, whole=True),
        box_sides=histogram(box_sides, BOX_SIDES),
        aspects=histogram(sides[:, 0] / sides[:, 1], ASPECTS),
        class_sides=class_sides,
        class_side_counts=class_side_counts,
        duplicates=duplicates,
        problems=problems,
        fatal=fatal,
        refused=bool(fatal) or not len(samples),
        scope=scan.scope,
        examples=samples.take(_examples(images, rows, len(samples))),
    )


def _chosen(options: CheckOptions) -> dict[str, Any]:
    """The options that are not the default, for JSON: none of workers and access, and no folder of
    this machine."""
    chosen: dict[str, Any] = {}
    elsewhere = {one.name for kind in (Cluster, Access) for one in options_of(kind)}
    for one in options_of(CheckOptions):
        value = getattr(options, one.name)
        if value == one.default or one.name in elsewhere:
            continue
        if isinstance(value, (str, os.PathLike)):
            value = os.fspath(value)
            value = base_name(value) if os.path.isabs(value) else value
        elif not isinstance(value, (int, float, type(None))):
            value = dict(value) if isinstance(value, Mapping) else list(value)
        chosen[one.name] = value
    return chosen


def _by_class(
    ids: Int64, sides: Float32, names: tuple[str, ...]
) -> tuple[dict[str, Spread], dict[str, list[int]]]:
    """The box sides of each class that has boxes, and their histogram."""
    order = np.argsort(ids, kind="stable")
    found, starts = np.unique(ids[order], return_index=True)
    groups = np.split(sides[order], starts[1:]) if len(found) else []
    of_class = {names[id_]: group for id_, group in zip(found.tolist(), groups, strict=True)}
    bins = len(BOX_SIDES) + 1
    return (
        {name: Spread.of(group) for name, group in of_class.items()},
        {
            name: np.bincount(np.searchsorted(BOX_SIDES, group, "right"), minlength=bins).tolist()
            for name, group in of_class.items()
        },
    )


def _examples(classes: Int64, rows: Int64, samples: int) -> Int64:
    """The rows of the examples, from the pairs of a class and a sample that has it, in order."""
    found, starts, counts = np.unique(classes, return_index=True, return_counts=True)
    if not len(found):  # numbers: the samples are spread as those of a single class
        rows, starts, counts = np.arange(samples), np.zeros(1, int), np.array([samples])
    starts, counts = starts[:_CLASSES, None], counts[:_CLASSES, None]
    each = min(max(_EXAMPLES // len(starts), 1), _EACH)
    steps = (2 * np.arange(each) + 1) * counts // (2 * each)
    return np.unique(rows[(starts + steps).ravel()]) if samples else rows


def _duplicates(scan: ScanResult, workers: Workers) -> tuple[list[list[str]], list[Problem]]:
    """Groups of equal images, and their problems."""
    groups = duplicate_groups(scan.samples, jobs=workers.jobs, backend=workers.backend)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    duplicates: list[list[str]] = []
    problems: list[Problem] = []
    for members in np.split(order, starts[1:]):
        if len(members) < 2:
            continue
        paths = [scan.samples.paths[i] for i in members.tolist()]
        sets = {scan.image_sets[i] for i in members.tolist()}
        if len(set(paths)) > 1:
            duplicates.append(sorted(set(paths)))
        elif len(sets) == 1:
            continue  # one image twice in one set: that is the problem id-repeated
        code = "image-leaked" if len(sets) > 1 else "image-duplicate"
        problems += [
            Problem(code, CATALOGUE[code].severity, path, "kept", field="image", value=paths[0])
            for path in dict.fromkeys(paths[1:])
        ]
    return duplicates, problems
