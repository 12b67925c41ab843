"""Where a Pascal VOC devkit keeps its files: years, folders, image sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recpack.config import Options
from recpack.errors import ConfigError, DataError
from recpack.files import text_lines
from recpack.texts import Texts

_PRESENCE = ("-1", "0", "1")


@dataclass(frozen=True)
class ImageSet:
    """A list of image ids, and the folders where their files lie.

    ``name`` tells it from others (``VOC2007 train``); ``annotations`` and ``images`` are relative
    to the data set's root (``.`` for the root).
    """

    name: str
    annotations: str
    images: str
    ids: Texts


@dataclass(frozen=True)
class Devkit:
    """A data set's root and its image sets in the order asked for."""

    root: Path
    image_sets: list[ImageSet]


def open_devkit(
    path: str | os.PathLike[str], options: Options, *, every_set: bool = False
) -> Devkit:
    """Find a devkit's folders and read its image sets.

    ``path`` is a devkit (``VOC2007``, ``VOC2012``, … below it), one VOC folder (``Annotations``
    and ``JPEGImages``), a folder with images and annotations side by side, or anything else with
    ``options.images`` and ``options.annotations``. ``year`` and ``set`` pair as in the AWS tool:
    equal lengths, or one of them single; the default is every year, and ``trainval`` (every
    annotation where there is no ``ImageSets``). With ``every_set`` the default is all of
    ``train``, ``val`` and ``test`` that exist. Raises DataError for what is not there.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if options.images is not None and options.annotations is not None:
        root, folders = _named_folders(root, Path(options.images), Path(options.annotations))
    else:
        folders = _found_folders(root, _words(options.year))
    sets = _words(options.set) or [""]
    if every_set and sets == [""]:
        present = [(folder, name) for folder in folders for name in _standard_sets(root, folder)]
        return Devkit(root, [_image_set(root, *folder, name) for folder, name in present])
    if len(sets) > 1 and len(folders) == 1:
        folders = folders * len(sets)
    if len(sets) == 1:
        sets = sets * len(folders)
    if len(sets) != len(folders):
        raise ConfigError(
            f"set: {len(sets)} image sets ({', '.join(sets)}) do not pair with {len(folders)} "
            "years; give one for all, or one for each"
        )
    return Devkit(
        root, [_image_set(root, *folder, name) for folder, name in zip(folders, sets, strict=True)]
    )


def _words(value: str | Sequence[str] | None) -> list[str]:
    if value is None:
        return []
    if isinstance(value, (str, int)):
        value = str(value).split(",")
    return [word.strip() for word in map(str, value) if word.strip()]


def _found_folders(root: Path, years: list[str]) -> list[tuple[str, str, str]]:
    """(annotations, images, image sets) of each year, relative to the root."""
    if (root / "Annotations").is_dir():
        if years:
            raise ConfigError(f"year: {root} is one VOC folder and has no years below it")
        return [_voc_folders("")]
    found = sorted(entry.name[3:] for entry in root.glob("VOC[0-9]*") if entry.is_dir())
    missing = [year for year in years if year not in found]
    if missing:
        raise DataError(
            f"{root}: no folder VOC{missing[0]}; "
            + (f"there are years {', '.join(found)}" if found else "there is no VOC<year> folder")
        )
    if found:
        return [_voc_folders(f"VOC{year}/") for year in years or found]
    if any(root.glob("*.xml")):
        return [(".", ".", "")]
    if (root / "VOCdevkit").is_dir():
        raise DataError(f"{root}: the devkit is the folder below, {root / 'VOCdevkit'}")
    raise DataError(
        f"{root}: no VOC<year> folder, no Annotations folder and no *.xml; name the folders "
        "with --images and --annotations"
    )


def _voc_folders(prefix: str) -> tuple[str, str, str]:
    return prefix + "Annotations", prefix + "JPEGImages", prefix + "ImageSets/Main"


def _named_folders(
    root: Path, images: Path, annotations: Path
) -> tuple[Path, list[tuple[str, str, str]]]:
    """Each folder as given below the root or, failing that, below the working directory. Paths in
    the list are relative to the root, or to the images when they lie elsewhere."""
    resolved = []
    for name, folder in (("images", images), ("annotations", annotations)):
        choices = [choice for choice in (root / folder, folder) if choice.is_dir()]
        if not choices:
            raise DataError(f"{name}: no folder {folder} below {root} or here")
        resolved.append(Path(os.path.abspath(choices[0])))
    if not resolved[0].is_relative_to(os.path.abspath(root)):
        root = resolved[0]
    relative = [os.path.relpath(folder, os.path.abspath(root)) for folder in resolved]
    sets = os.path.join(os.path.dirname(relative[1]), "ImageSets", "Main")
    return root, [(relative[1], relative[0], sets)]


def _image_set(root: Path, annotations: str, images: str, sets: str, name: str) -> ImageSet:
    for folder in (annotations, images):
        if not (root / folder).is_dir():
            raise DataError(f"{root / folder}: no such folder")
    choices_folder = root / sets if sets else None
    if choices_folder is None or not choices_folder.is_dir():
        if name and not (file := Path(name)).is_file():
            raise DataError(f"set: there is no {root / (sets or 'ImageSets')} and no file {name}")
        ids = Texts(
            read_image_set(file, root / annotations) if name else _all_ids(root / annotations)
        )
    else:
        name = name or "trainval"
        file = choices_folder / f"{name}.txt"
        if not file.is_file():
            choices = (
                ", ".join(sorted(entry.stem for entry in choices_folder.glob("*.txt"))) or "none"
            )
            raise DataError(f"{file}: no such image set; choose with --set from: {choices}")
        ids = Texts(read_image_set(file, root / annotations))
    if not ids:
        raise DataError(f"{root / annotations}: no annotations are chosen")
    where = annotations.rpartition("/")[0]
    return ImageSet(f"{where} {name or 'all'}".strip(), annotations, images, ids)


def _standard_sets(root: Path, folder: tuple[str, str, str]) -> list[str]:
    """Those of train, val and test that exist; the one by default when none does."""
    sets = root / folder[2]
    return [name for name in ("train", "val", "test") if (sets / f"{name}.txt").is_file()] or [""]


def _all_ids(annotations: Path) -> list[str]:
    return sorted(
        entry.name[:-4]
        for entry in os.scandir(annotations)
        if entry.name.endswith(".xml") and not entry.name.startswith(".")
    )


def read_image_set(file: Path, annotations: Path) -> Iterator[str]:
    """The ids of an ``ImageSets/Main`` file: ``id`` or ``id flag`` a line.

    A last column of exactly -1, 0 or 1 is a flag, unless the whole line names a file in
    ``annotations``; ids flagged -1 (the class is absent) are left out. Ids may hold spaces.
    """
    try:
        for line in map(str.strip, text_lines(file)):
            id_, _, flag = line.replace("\t", " ").rpartition(" ")
            if not (id_ and flag in _PRESENCE) or (annotations / f"{line}.xml").exists():
                if line:
                    yield line
            elif flag != "-1":
                yield id_.rstrip()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: can't be read: {error}") from error
