"""The demo: make a small Pascal VOC devkit, with photo-like images of objects that a model can
learn, and convert it into an S3 server.

The same seed gives the same devkit, byte for byte, with the same builds of NumPy and OpenCV.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recpack.demo.photograph import CLASSES as CLASSES
from recpack.demo.photograph import Object
from recpack.demo.photograph import make_image as make_image
from recpack.demo.s3_server import credentials, loopback_server
from recpack.errors import DataError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import encode
from recpack.pipeline.convert import convert
from recpack.progress import Progress, Watch
from recpack.records.verify import verify
from recpack.records.verify_stored import Verification
from recpack.storage.files import make_folder, write_bytes
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location

YEAR = "2007"
_SIZES = ((500, 375), (375, 500), (500, 333))
_EASY_SIZES = ((320, 240), (240, 320))


def make_devkit(
    root: str | os.PathLike[str],
    images: int = 200,
    seed: int = 0,
    progress: Watch = None,
    *,
    easy: bool = False,
) -> Path:
    """Make ``VOC2007`` below ``root`` with this number of images of about 50 KB; ``trainval`` lists
    four in five, ``test`` the rest. ``easy`` is for a small network that has only minutes: smaller
    images, and a colour for each class on gray. Returns ``root``."""
    random = np.random.RandomState(seed)
    root = Path(root)
    folder = root / f"VOC{YEAR}"
    for name in ("Annotations", "JPEGImages", "ImageSets", "ImageSets/Main"):
        make_folder(folder / name)
    ids = [f"{number:06d}" for number in range(1, images + 1)]
    for number, id_ in enumerate(ids, 1):
        sizes = _EASY_SIZES if easy else _SIZES
        width, height = sizes[random.randint(len(sizes))]
        pixels, objects = make_image(random, width, height, easy=easy)
        image = encode(pixels, Encoding(quality=90))
        write_bytes(folder / "JPEGImages" / f"{id_}.jpg", image.tobytes())
        text = annotation(f"{id_}.jpg", width, height, objects)
        write_bytes(folder / "Annotations" / f"{id_}.xml", text.encode())
        if progress is not None:
            progress(Progress("make", number, images))
    split = max(images * 4 // 5, 1)
    for name, part in (("trainval", ids[:split]), ("test", ids[split:])):
        ids_of_part = "".join(f"{id_}\n" for id_ in part)
        write_bytes(folder / "ImageSets" / "Main" / f"{name}.txt", ids_of_part.encode())
    return root


class S3Upload(NamedTuple):
    """The server's URL, the objects in it, and the verification of the ``.rec``."""

    endpoint_url: str
    objects: list[str]
    verification: Verification


def convert_to_s3(devkit: Path, local: Path, progress: Watch = None) -> S3Upload:
    """Convert into a real S3 server on loopback; DataError unless the object equals the local
    file."""
    from recpack.storage.s3.objects import list_objects, read

    location = Location("recpack-demo", "voc/train/train.rec")
    with loopback_server() as url, credentials():
        s3 = S3Client(url)
        s3.call("create_bucket", Bucket=location.bucket)
        convert(devkit, str(location), classes=CLASSES, endpoint_url=url, progress=progress)
        verify(str(location), endpoint_url=url)
        verification = verify(str(location), deep=True, endpoint_url=url)
        if read(s3, location) != local.read_bytes():
            raise DataError(f"{location} differs from {local}")
        root = location._replace(key="")
        objects = [str(root._replace(key=name)) for name, _ in list_objects(s3, root, deep=True)]
    return S3Upload(url, objects, verification)


def annotation(filename: str, width: int, height: int, objects: list[Object]) -> str:
    """The text of a VOC annotation."""
    boxes = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n"
        "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{box[0]}</xmin>\n\t\t\t<ymin>{box[1]}</ymin>\n"
        f"\t\t\t<xmax>{box[2]}</xmax>\n\t\t\t<ymax>{box[3]}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for name, box in objects
    )
    return (
        f"<annotation>\n\t<folder>VOC{YEAR}</folder>\n\t<filename>{filename}</filename>\n"
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n"
        f"\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n{boxes}</annotation>\n"
    )
