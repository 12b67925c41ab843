"""Draw a picture of balls, boxes and cones that looks like a photograph, and say where they are."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from recpack.columns import Pixels
from recpack.demo.scene import FAR, Camera, Floats, Light, Random, backdrop, choose_light, colour
from recpack.demo.things import KINDS, Thing, shade

CLASSES = tuple(KINDS)
Object = tuple[str, tuple[int, int, int, int]]
"""Class name and box: xmin, ymin, xmax, ymax in pixels, of the first and the last column and row,
counted from 1 as in VOC."""

_EASY_PAINTS = {"ball": (215, 60, 60), "box": (60, 190, 60), "cone": (60, 90, 215)}
_MARGIN = 3
"""Pixels between objects and the picture's edge, at least."""
_SMALLEST, _EASY = 0.08, 0.15
"""An object's longer side, at least, as a share of the picture's."""
_GRAIN = 512
"""Pixels of the grain's side."""
Owners = npt.NDArray[np.int64]
"""Whose each pixel is (height, width): an object's number, or -1."""


def make_image(
    random: Random, width: int, height: int, *, easy: bool = False
) -> tuple[Pixels, list[Object]]:
    """A picture (height, width, 3), blue first, with one to four objects, far ones first. A box
    holds all pixels of its object that are seen. ``easy``: see ``make_devkit``."""
    inside = random.randint(2) == 0
    wall = random.uniform(5.5, 9) if inside else None
    light = choose_light(random, inside=inside)
    camera = _stand(random, width, height)
    count = random.randint(1, 3 if easy else 5)
    things = _arrange(random, camera, count, wall or FAR, easy=easy)
    shadows = [(thing.bounds(), thing.feet()) for _, thing in things]
    canvas = backdrop(random, camera, light, shadows, wall)
    if easy:
        canvas[:] = canvas.mean(0)
    owners: Owners = np.full((height, width), -1)
    for number, (_, thing) in enumerate(things):
        _draw(canvas, owners, number, thing, camera, light)
    objects: list[Object] = []
    for number, (name, _) in enumerate(things):
        rows, columns = np.nonzero(owners == number)
        if len(rows):
            left, top = int(columns.min()) + 1, int(rows.min()) + 1
            objects.append((name, (left, top, int(columns.max()) + 1, int(rows.max()) + 1)))
    return _develop(random, canvas), objects


def _stand(random: Random, width: int, height: int) -> Camera:
    focal = random.uniform(1.0, 1.35) * max(width, height)
    horizon = random.uniform(0.12, 0.34)
    tangent = (0.5 - horizon) * height / focal
    cosine = 1 / math.sqrt(1 + tangent**2)
    return Camera(width, height, focal, random.uniform(1.0, 1.4), tangent * cosine, cosine)


def _arrange(
    random: Random, camera: Camera, count: int, wall: float, *, easy: bool
) -> list[tuple[str, Thing]]:
    """Objects whole in the picture, none hidden more than a little, far ones first."""
    smallest = (_EASY if easy else _SMALLEST) * max(camera.width, camera.height)
    placed: list[tuple[float, str, Thing, Floats]] = []
    for _ in range(200):
        name = CLASSES[random.randint(len(CLASSES))]
        size = random.uniform(0.6, 1) if easy else random.uniform(0.5, 0.9)
        z = camera.ground(random.uniform(0.45, 0.98) * camera.height)
        x = random.uniform(-0.5, 0.5) * z * camera.width / camera.focal
        paint = colour(*_EASY_PAINTS[name]) if easy else None
        thing: Thing = KINDS[name](random, x, z, size, paint)
        seen = camera.pixels(thing.bounds())
        box = np.concatenate([seen.min(1), seen.max(1)])
        limits = (camera.width - _MARGIN, camera.height - _MARGIN)
        if (
            z + size < wall and (box[:2] > _MARGIN).all() and (box[2:] < limits).all()
            and (box[2:] - box[:2]).max() > smallest
            and all(_free(box, other) for *_, other in placed)
        ):  # fmt: skip
            placed.append((z, name, thing, box))
            if len(placed) == count:
                break
    placed.sort(key=lambda one: -one[0])
    return [(name, thing) for _, name, thing, _ in placed]


def _free(box: Floats, other: Floats) -> bool:
    """Whether boxes share no more than a seventh of the smaller one."""
    common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    areas = [np.prod(one[2:] - one[:2]) for one in (box, other)]
    return bool((common <= 0).any() or np.prod(common) < min(areas) / 7)


def _draw(
    canvas: Floats, owners: Owners, number: int, thing: Thing, camera: Camera, light: Light
) -> None:
    seen = camera.pixels(thing.bounds())
    left, top = np.maximum(np.floor(seen.min(1)).astype(int) - 1, 0).tolist()
    most = camera.width, camera.height
    right, bottom = np.minimum(np.ceil(seen.max(1)).astype(int) + 1, most).tolist()
    columns, rows = (
        (np.arange(2 * (end - start), dtype=np.float32) + 0.5) / 2 + start
        for start, end in ((left, right), (top, bottom))
    )
    x, y, z = camera.rays(columns, rows)
    rays = np.stack(np.broadcast_arrays(x, y[:, None], z[:, None]))
    depth = thing.depth(camera.eye, rays)
    met = np.isfinite(depth)
    where = np.flatnonzero(met)
    points = np.take(rays.reshape(3, -1), where, 1) * np.take(depth, where)
    points += camera.eye[:, None]
    colours = np.zeros_like(rays)
    for channel, found in zip(
        colours.reshape(3, -1), shade(thing, thing.surface(points), camera.eye, light), strict=True
    ):
        channel[where] = found
    covered = _mean(met[None].astype(np.float32))
    part = np.s_[top:bottom, left:right]
    canvas[:, *part] = canvas[:, *part] * (1 - covered) + _mean(colours)
    owners[part][covered[0] >= 0.5] = number


def _mean(fine: Floats) -> Floats:
    """The mean of the four rays of each pixel."""
    rows = fine[:, 0::2] + fine[:, 1::2]
    mean: Floats = (rows[:, :, 0::2] + rows[:, :, 1::2]) / 4
    return mean


def _develop(random: Random, canvas: Floats) -> Pixels:
    """Linear colours → a screen's: exposure, vignette, highlights, grain."""
    _, height, width = canvas.shape
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in (height, width))
    bright = random.uniform(0.95, 1.2) * (1 - 0.14 * (y[:, None] ** 2 + x**2))
    canvas *= bright
    canvas = np.sqrt(canvas * 1.22 / (1 + 0.22 * canvas)) * 255
    grain = _grain()
    rows, columns = (
        (np.arange(length) + random.randint(_GRAIN)) % _GRAIN for length in (height, width)
    )
    canvas += np.take(np.take(grain, rows, 0), columns, 1)
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        pixels[..., 2 - channel] = np.clip(canvas[channel], 0, 255)
    return pixels


@cache
def _grain() -> Floats:
    """Noise of a film, which repeats itself."""
    return np.random.RandomState(0).normal(0, 4, (_GRAIN, _GRAIN)).astype(np.float32)
