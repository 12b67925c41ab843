"""The options of every command, validated once, all faults in one error."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recpack.errors import ConfigError
from recpack.formats import OUTPUT_FORMATS, SOURCE_FORMATS
from recpack.problems import Action
from recpack.s3.access import Access
from recpack.sample import ClassMap, class_map

_UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
          "kb": 10**3, "mb": 10**6, "gb": 10**9}  # fmt: skip

MIN_SEGMENT = 64 << 10
MAX_SEGMENT = 1 << 30


def parse_size(text: str | int) -> int:
    """``16MiB``, ``16 MB``, ``1048576`` → bytes; ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is no size; write bytes or a unit, like 16MiB")
    return int(match[1]) * _UNITS[match[2].lower()]


SPLIT_NAMES = ("train", "val", "test")


def parse_fractions(text: str) -> tuple[float, ...]:
    """``0.8/0.2`` or ``0.7/0.2/0.1`` → fractions; ConfigError unless they are two or three, above
    0, and add up to 1."""
    try:
        fractions = tuple(float(part) for part in text.split("/"))
    except ValueError:
        fractions = ()
    if (
        not 2 <= len(fractions) <= len(SPLIT_NAMES)
        or not all(0 < fraction < 1 for fraction in fractions)
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise ConfigError(
            f"split: {text!r}; two or three fractions that add up to 1, like 0.8/0.2 "
            f"({', '.join(SPLIT_NAMES)})"
        )
    return fractions


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a changed image is written, and how large: im2rec's options of the same names.

    ``resize``: pixels of the shorter side, 0 keeps the size · ``quality``: 1-100 for JPEG (95
    when None), 0-9 compression for PNG (3 when None) · ``encoding``: ``jpg`` or ``png`` ·
    ``center_crop``: cut the longer side to a centred square first · ``im2rec_pixels``: always
    decode at full size, as im2rec does (see ``image.reencode``).
    """

    resize: int = 0
    quality: int | None = None
    encoding: str = "jpg"
    center_crop: bool = False
    im2rec_pixels: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """What shapes the output and the run. Each field is the command line's option of that name.

    ``source_format`` and ``output_format`` are ``--from`` and ``--to``, None: what it looks like.
    ``images_url`` is where on S3 the images that an augmented manifest names are or will be.
    ``year``, ``set`` take ``2007,2012`` or a sequence. ``classes`` takes ``voc``, ``auto``, a
    file, ``a,b,c``, a sequence of names or a mapping name → id; None is ``voc`` for a devkit, the
    data set's own names for other formats, and the ids themselves for a list. ``shuffle`` is a
    seed, or None (or False) for the order of the data set. ``jobs`` None means all cores, of the
    cluster where ``backend`` is ``dask`` (at ``scheduler``, or of this process's Client) or
    ``ray`` (at ``address``, or one of its own).
    ``segment_size`` takes bytes or ``16MiB``. For those of S3 see ``recpack.S3Sink``. Raises
    ConfigError listing everything that is wrong.
    """

    source_format: str | None = None
    output_format: str | None = None
    images_url: str | None = None
    year: str | Sequence[str] | None = None
    set: str | Sequence[str] | None = None
    images: str | os.PathLike[str] | None = None
    annotations: str | os.PathLike[str] | None = None
    classes: str | Sequence[str] | Mapping[str, int] | None = None
    shuffle: int | None = 0
    precision: int | None = None
    one_based: bool = False
    difficult: str = "keep"
    box_policy: str = "repair"
    negatives: str = "drop"
    unknown_class: str = "error"
    size_mismatch: str = "error"
    on_error: str = "fail"
    strict: bool = False
    resize: int = 0
    quality: int | None = None
    encoding: str = "jpg"
    reencode: bool = False
    center_crop: bool = False
    im2rec_pixels: bool = False
    split: str | None = None
    jobs: int | None = None
    backend: str | None = None
    scheduler: str | None = None
    address: str | None = None
    segment_size: int | str = 16 << 20
    overwrite: bool = False
    dry_run: bool = False
    endpoint_url: str | None = None
    requester_pays: bool = False
    uploads: int = 16
    checksum: str = "crc32"
    storage_class: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    resume: bool = False

    class_map: ClassMap | None = field(init=False, repr=False)
    """The classes named; None when they are learnt from the data."""

    def __post_init__(self) -> None:
        wrong: list[str] = []

        def demand(holds: bool, text: str) -> None:
            if not holds:
                wrong.append(text)

        def choose(name: str, *choices: str | None) -> None:
            value = getattr(self, name)
            named = ", ".join(filter(None, choices))
            demand(value in choices, f"{name}: {value!r} is none of {named}")

        choose("difficult", "keep", "drop", "column")
        choose("box_policy", "repair", "drop", "error")
        choose("negatives", "drop", "keep", "error")
        choose("unknown_class", "error", "skip")
        choose("size_mismatch", "error", "rescale")
        choose("on_error", "fail", "skip")
        choose("encoding", "jpg", "png")
        demand(
            self.precision is None or 1 <= self.precision <= 6,
            f"precision: {self.precision} decimals; 1 to 6, or none for full float32 precision",
        )
        choose("source_format", None, *SOURCE_FORMATS)
        choose("output_format", None, *OUTPUT_FORMATS)
        choose("checksum", "crc32", "crc64nvme", "none")
        choose("sse", None, "AES256", "aws:kms", "aws:kms:dsse")
        demand(
            self.kms_key_id is None or self.sse != "AES256",
            "kms_key_id: sse AES256 has no key of yours; take aws:kms",
        )
        demand(
            self.scheduler is None or self.backend == "dask",
            "scheduler: only dask has one; say backend dask",
        )
        demand(
            self.address is None or self.backend == "ray",
            "address: only ray has one; say backend ray",
        )
        demand(1 <= self.uploads <= 256, f"uploads: {self.uploads}; 1 to 256 in flight")
        demand(self.resize >= 0, f"resize: {self.resize} pixels; 0 keeps the size")
        if self.quality is not None:
            low, high = (1, 100) if self.encoding == "jpg" else (0, 9)
            demand(
                low <= self.quality <= high,
                f"quality: {self.quality}; {self.encoding} takes {low} to {high}",
            )
        demand(self.jobs is None or self.jobs >= 1, f"jobs: {self.jobs}; 1 or more")
        if isinstance(self.shuffle, bool):
            object.__setattr__(self, "shuffle", 0 if self.shuffle else None)
        demand(
            self.shuffle is None or 0 <= self.shuffle < 1 << 32,
            f"shuffle: seed {self.shuffle}; 0 to {(1 << 32) - 1}",
        )
        demand(
            self.annotations is None or self.images is not None,
            "annotations: name the folder of the images too, with images",
        )
        demand(
            self.images is None or self.year is None,
            "year: the folders given with images and annotations have no years",
        )
        try:
            parse_fractions(self.split or "0.5/0.5")
        except ConfigError as error:
            wrong.append(str(error))
        try:
            size = parse_size(self.segment_size)
            object.__setattr__(self, "segment_size", size)
            demand(
                MIN_SEGMENT <= size <= MAX_SEGMENT,
                f"segment_size: {size:,} bytes; {MIN_SEGMENT >> 10} KiB to {MAX_SEGMENT >> 30} GiB",
            )
        except ValueError as error:
            wrong.append(f"segment_size: {error}")
        try:
            object.__setattr__(
                self, "class_map", class_map("voc" if self.classes is None else self.classes)
            )
        except ConfigError as error:
            wrong.append(str(error))
        if wrong:
            raise ConfigError("\n".join(wrong))

    @property
    def image_encoding(self) -> Encoding:
        """How changed images are written."""
        return Encoding(
            self.resize, self.quality, self.encoding, self.center_crop, self.im2rec_pixels
        )

    @property
    def changes_images(self) -> bool:
        """Whether every image is decoded and encoded anew."""
        return bool(self.reencode or self.resize or self.center_crop)

    @property
    def error_action(self) -> Action:
        """What is done about what can't be read."""
        return "dropped image" if self.on_error == "skip" else "error"

    @property
    def access(self) -> Access:
        """How S3 is reached."""
        return Access(self.endpoint_url, self.requester_pays)

    @property
    def segment_bytes(self) -> int:
        """``segment_size`` in bytes."""
        return int(self.segment_size)

    def shaping(self) -> dict[str, object]:
        """The options that shape the bytes, for the manifest."""
        names = ("shuffle", "precision", "one_based", "difficult", "box_policy", "negatives",
                 "unknown_class", "size_mismatch", "on_error", "strict", "split", "resize",
                 "quality", "encoding", "reencode", "center_crop", "im2rec_pixels")  # fmt: skip
        return {name: getattr(self, name) for name in names}
