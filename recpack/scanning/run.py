"""The first pass over a data set: parse every annotation, read every image's header and judge every
box, in parallel; write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, GrowingColumns, narrow
from recpack.data.annotation import LabelKind
from recpack.data.classes import ClassMap, similar_names
from recpack.data.labels import class_ids, class_positions
from recpack.data.policy import Policy
from recpack.data.samples import Samples
from recpack.errors import DataError
from recpack.problems import Problem, Severity, count_text
from recpack.progress import Progress, Watch
from recpack.scanning.base_judge import ScanChunk
from recpack.scanning.class_judge import judge_of, refuse_options
from recpack.scanning.settings import JudgeSettings, ScanSettings
from recpack.sources.base import Dataset, Scope, Task
from recpack.sources.tails import mendable
from recpack.storage.files import Closing
from recpack.workers.run import run


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A whole data set: its samples in the order of the image sets, and all problems.

    ``sizes`` float32 (n, 2) are the images' width and height in pixels, ``image_sets`` int16 (n,)
    the rank of each image's set. ``annotations`` is the number of annotations read, ``scope`` what
    they are of the data set. ``images`` has the image's path for each file with problems that is
    packed. ``labels``: their kind.
    """

    samples: Samples
    classes: ClassMap
    sizes: Float32
    image_sets: npt.NDArray[np.int16]
    problems: list[Problem]
    annotations: int
    scope: Scope
    images: dict[str, str]
    labels: LabelKind = "boxes"


class Scanning(Closing):
    """The scan of a data set, or of its first ``most`` tasks: the workers begin at once, and
    ``finish`` waits for them.

    Bad data never raises here: it is in ``problems``. Metadata takes less than 300 bytes per image.
    """

    def __init__(self, dataset: Dataset, settings: ScanSettings, most: int | None = None) -> None:
        self._settings = settings.part(ScanSettings)
        self.labels = dataset.labels
        refuse_options(settings, dataset.labels)
        auto = settings.class_map is None and dataset.labels != "boxes"
        if dataset.classes is not None and (settings.classes is None or auto):
            classes = {name: i for i, name in enumerate(dataset.classes)}
            self._settings = replace(self._settings, classes=classes)
        self._dataset = dataset
        self._scan = partial(
            scan_task, settings=self._settings.part(JudgeSettings), labels=dataset.labels
        )
        self._results = run(
            self._scan,
            islice(dataset.tasks(), most),
            dataset.task_count if most is None else min(dataset.task_count, most),
            jobs=settings.jobs,
            backend=settings.backend,
        )

    def close(self) -> None:
        self._results.close()

    def finish(self, progress: Watch = None) -> ScanResult:
        """The whole data set, judged by the policies. Raises DataError when the data set can't be
        listed to find what is missing."""
        chunks = (self._mend(number, chunk) for number, chunk in enumerate(self._results))
        return _collect(chunks, self._dataset, self._settings, progress)

    def _mend(self, number: int, chunk: ScanChunk) -> ScanChunk:
        """The chunk; where missing files are found elsewhere, it is read again, in this process."""
        missing = list(filter(mendable, chunk.problems))
        if not missing:
            return chunk
        try:
            task, found = self._dataset.mend(number, missing)
        except OSError as error:
            raise DataError(f"{self._dataset.root}: can't be read: {error}") from error
        if task is not None:
            chunk = self._scan(task)
        errors = {problem.file for problem in found if problem.severity == "error"}
        kept = [
            problem
            for problem in chunk.problems
            if not (problem.file in errors and mendable(problem))
        ]
        return replace(chunk, problems=kept + acted(found, self._settings))


def scan_dataset(
    dataset: Dataset, settings: ScanSettings, progress: Watch = None, *, most: int | None = None
) -> ScanResult:
    """Read a data set in parallel; see ``Scanning``."""
    with Scanning(dataset, settings, most) as scanning:
        return scanning.finish(progress)


def scan_task(task: Task, *, settings: JudgeSettings, labels: LabelKind = "boxes") -> ScanChunk:
    """Read and judge one task's annotations; runs in a worker."""
    judge = judge_of(labels, settings, task.image_set)
    for item in task.read():
        judge.add(item)
    return judge.finish()


def _collect(
    chunks: Iterable[ScanChunk], dataset: Dataset, settings: ScanSettings, progress: Watch
) -> ScanResult:
    total, scope = len(dataset), dataset.scope()  # meanwhile the workers read
    columns = _Columns()
    problems = acted(dataset.problems(), settings)
    images: dict[str, str] = {}
    done = 0
    for chunk in chunks:
        columns.append(chunk)
        problems += chunk.problems
        images |= chunk.images
        done += chunk.annotations
        if progress is not None:
            progress(Progress("scan", done, total))
    classes = settings.class_map or columns.learn_classes()
    widths = columns.array("widths", np.int64)
    samples = Samples(
        dataset.root,
        np.arange(len(widths), dtype=np.int64),
        columns.paths(),
        columns.array("labels", np.float32),
        narrow(np.concatenate(([0], np.cumsum(widths)))),
        columns.array("image_bytes", np.int64),
        columns.array("treatments", np.uint8),
        columns.array("identities", np.int64),
    )
    sizes = columns.array("sizes", np.float32).reshape(-1, 2)
    image_sets = columns.array("image_sets", np.int16)
    surplus, repeated = _repeated(samples, image_sets)
    if surplus:
        rows = np.delete(np.arange(len(samples)), surplus)
        samples, sizes, image_sets = samples.take(rows), sizes[rows], image_sets[rows]
        problems += acted(repeated, settings)
        images |= {one.file: one.file for one in repeated if one.severity != "error"}
    kind = dataset.labels
    problems += _similar_classes(classes, samples, "object" if kind == "boxes" else "image")
    return ScanResult(samples, classes, sizes, image_sets, problems, done, scope, images, kind)


def _repeated(
    samples: Samples, image_sets: npt.NDArray[np.int16]
) -> tuple[list[int], list[Problem]]:
    """The samples that must go because several annotations of an image set have one image, and
    the problems. Equal ones count once; of different ones nobody knows which is right."""
    several = set(samples.paths.repeated())
    rows: dict[tuple[int, str], list[int]] = {}
    for row, key in enumerate(zip(image_sets.tolist(), samples.paths, strict=True)):
        if key[1] in several:
            rows.setdefault(key, []).append(row)
        elif not several:
            break
    surplus: list[int] = []
    problems = []
    for (_, path), found in rows.items():
        if len(found) > 1:
            equal = (
                len({samples.labels[slice(*samples.bounds[i : i + 2])].tobytes() for i in found})
                == 1
            )
            surplus += found[1:] if equal else found
            value = f"{len(found)} annotations have it"
            severity: Severity = "warning" if equal else "error"
            problems.append(Problem("image-repeated", severity, path, "kept", value=value))
    return surplus, problems


def _similar_classes(classes: ClassMap, samples: Samples, noun: str) -> Iterator[Problem]:
    groups = similar_names(classes.names)
    if groups:
        ids = classes.ids()
        counts = Counter(class_ids(samples)[0].tolist())
        for group in groups:
            value = ", ".join(f"{name!r} ({count_text(counts[ids[name]], noun)})" for name in group)
            yield Problem("class-similar", "warning", ".", "kept", value=value)


def acted(problems: Iterable[Problem], policy: Policy) -> list[Problem]:
    """Problems of a data set, the errors with the policy's action."""
    return [
        replace(problem, action=policy.error_action) if problem.severity == "error" else problem
        for problem in problems
    ]


class _Columns(GrowingColumns):
    """Chunks end to end."""

    def __init__(self) -> None:
        super().__init__(
            "labels", "widths", "sizes", "image_sets", "image_bytes", "identities", "treatments",
        )  # fmt: skip
        self._chunks: list[tuple[list[str], int, int]] = []

    def append(self, part: ScanChunk) -> None:
        super().append(part)
        self._chunks.append((part.names, len(part.widths), len(part.labels)))

    def learn_classes(self) -> ClassMap:
        """All class names of the data, sorted. It also replaces the ids in the labels: until now
        these are each chunk's own ranks."""
        names = {name for chunk_names, _, _ in self._chunks for name in chunk_names}
        classes = ClassMap(tuple(sorted(names)) or ("none",))
        ids = classes.ids()
        labels, widths = self.array("labels", np.float32), self.array("widths", np.int64)
        sample = start = 0
        for chunk_names, samples, floats in self._chunks:
            if chunk_names and samples:
                chunk = labels[start : start + floats]
                bounds = np.concatenate(([0], np.cumsum(widths[sample : sample + samples])))
                positions = class_positions(chunk, bounds)
                positions = positions[chunk[positions] >= 0]
                new_ids = np.array([ids[name] for name in chunk_names], np.float32)
                chunk[positions] = new_ids[chunk[positions].astype(np.int64)]
            sample, start = sample + samples, start + floats
        return classes
