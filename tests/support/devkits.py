"""Devkits for tests, made from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from recpack.columns import Float32
from recpack.data.classes import VOC_CLASSES
from recpack.formats.recordio import RecordBuffer, label_bytes

MAGIC = b"\x0a\x23\xd7\xce"


def jpeg(width: int = 60, height: int = 40, seed: int = 0, quality: int = 90) -> bytes:
    """A noisy JPEG: large for its size, and never the same twice."""
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return data.tobytes()


def with_comment(image: bytes, comment: bytes) -> bytes:
    """The JPEG with a comment segment behind its start marker."""
    return image[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + image[2:]


def box_xml(name: str, box: tuple[object, ...], difficult: str | None = "0") -> str:
    edges = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{flag}<bndbox>{edges}</bndbox></object>"


def xml(width: object, height: object, *objects: str, filename: str = "") -> str:
    return (
        f"<annotation><folder>VOC</folder><filename>{filename}</filename><size>"
        f"<width>{width}</width><height>{height}</height><depth>3</depth></size>"
        + "".join(objects)
        + "</annotation>"
    )


def make_voc(root: Path, years: dict[str, int], seed: int = 0) -> Path:
    """A clean devkit of so many images a year: sizes, counts of objects and number formats vary;
    one image in seven holds magic words at every alignment."""
    random = np.random.RandomState(seed)
    for year, images in years.items():
        folder = root / f"VOC{year}"
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (folder / name).mkdir(parents=True)
        ids = [f"{year}_{number:06d}" for number in range(images)]
        for number, id_ in enumerate(ids):
            width, height = (int(side) for side in random.randint(60, 360, 2))
            image = jpeg(width, height, int(random.randint(1 << 30)), int(random.randint(60, 96)))
            if number % 7 == 0:
                shift = b"\0" * (number // 7 % 4)
                image = with_comment(image, shift + MAGIC * 3 + b"\0" + MAGIC * 2)
            (folder / "JPEGImages" / f"{id_}.jpg").write_bytes(image)
            objects = []
            for _ in range(random.randint(1, 9)):
                name = VOC_CLASSES[random.randint(20)]
                box: list[tuple[int, int]] = []
                for side in (width, height):
                    low, high = sorted(random.choice(side + 1, 2, replace=False).tolist())
                    box.append((low, high))
                edges: tuple[object, ...] = (box[0][0], box[1][0], box[0][1], box[1][1])
                if random.randint(4) == 0:
                    edges = tuple(f"{edge:.1f}" for edge in edges)
                objects.append(box_xml(name, edges, str(random.randint(2))))
            text = xml(width, height, *objects, filename=f"{id_}.jpg")
            (folder / "Annotations" / f"{id_}.xml").write_text(text)
        listed = "".join(f"{id_}\n" for id_ in ids)
        (folder / "ImageSets" / "Main" / "trainval.txt").write_text(listed)
    return root


def make_photos(folder: Path) -> Path:
    """A data set of another layout, of another class."""
    for name in ("images", "xml"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        (folder / "images" / f"{number}.jpg").write_bytes(jpeg(60, 40, number))
        annotation = xml(60, 40, box_xml("raccoon", (6, 4, 30, 20)))
        (folder / "xml" / f"{number}.xml").write_text(annotation)
    return folder


def encode_record(id: int, label: Sequence[float] | Float32, image: bytes) -> bytes:
    """One whole framed record."""
    buffer = RecordBuffer()
    vector = np.asarray(label, np.float32).reshape(-1)
    buffer.begin(id, label_bytes(vector), len(image))[:] = image
    buffer.commit()
    return bytes(buffer.view())
