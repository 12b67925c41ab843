"""Where the demo's pictures are taken: a camera, light, a ground with shadows, what is behind.

Colours are linear: a screen's value is 255 times the square root. Arrays of colours and of vectors
have the three numbers first: (3, height, width), or (3, n) for points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
"""Of float32, nearly always: it is faster than float64."""
Random = np.random.RandomState

FAR = 60.0
"""Metres, where the haze hides the ground."""
_DIRECTIONS = 28
"""Half planes that bound a shadow."""


class Light(NamedTuple):
    """``sun``: direction to it (3). ``beam``, ``sky``: colours (3). ``soft``: a shadow's blur, in
    metres for each metre from its object."""

    sun: Floats
    beam: Floats
    sky: Floats
    soft: float


class Camera(NamedTuple):
    """Stands at x = z = 0 and looks along z, down a little. Lengths are metres, y is up."""

    width: int
    height: int
    focal: float
    lift: float
    sine: float
    cosine: float

    @property
    def eye(self) -> Floats:
        return vector(0, self.lift, 0)

    def rays(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Directions through these pixels: x for each column, y and z for each row."""
        up = (self.height / 2 - rows) / self.focal
        x = (columns - self.width / 2) / self.focal
        return x, up * self.cosine - self.sine, self.cosine + up * self.sine

    def pixels(self, points: Floats) -> Floats:
        """Points (3, n) → columns and rows (2, n)."""
        x, y, z = points
        y = y - self.lift
        depth = z * self.cosine - y * self.sine
        up = y * self.cosine + z * self.sine
        column = self.width / 2 + self.focal * x / depth
        return np.stack([column, self.height / 2 - self.focal * up / depth])

    def ground(self, row: float) -> float:
        """How far away the ground is in this row."""
        up = (self.height / 2 - row) / self.focal
        fall = self.sine - up * self.cosine
        return self.lift * (self.cosine + up * self.sine) / fall if fall > 0 else FAR


def vector(*values: float) -> Floats:
    return np.array(values, np.float32)


def colour(red: float, green: float, blue: float) -> Floats:
    """A screen's colour, 0 to 255 → linear."""
    return (vector(red, green, blue) / 255) ** 2


def unit(vectors: Floats) -> Floats:
    """The same directions, with the length 1."""
    scaled: Floats = vectors / np.sqrt(dot(vectors, vectors))
    return scaled


def dot(one: Floats, other: Floats) -> Floats:
    """The products of vectors (3, …)."""
    products: Floats = one[0] * other[0]
    products += one[1] * other[1]
    products += one[2] * other[2]
    return products


def tint(tone: Floats, bright: Floats) -> Floats:
    """A colour (3), this bright: (3, …)."""
    return tone.reshape(3, *[1] * bright.ndim) * bright


def mix(below: Floats, tone: Floats, share: Floats) -> Floats:
    """``below`` (3, …) with a share of a colour (3)."""
    mixed: Floats = below + (tone.reshape(3, *[1] * share.ndim) - below) * share
    return mixed


def fade(values: Floats, start: float, end: float) -> Floats:
    """0 before ``start``, 1 after ``end``, smooth between them."""
    t = np.clip((values - start) / (end - start), 0, 1)
    smooth: Floats = t * t * (3 - 2 * t)
    return smooth


@cache
def _noise(finest: int, first: int) -> Floats:
    """Noise that repeats itself, about -1 to 1: each grid twice as fine and half as strong."""
    random, side = np.random.RandomState(first), _texels(finest)
    total = np.zeros((side, side), np.float32)
    knots, strength = first, 1.0
    while knots <= finest:
        grid = random.uniform(-strength, strength, (knots, knots)).astype(np.float32)
        at = np.arange(side, dtype=np.float32) * (knots / side)
        low = at.astype(int)
        high, part = (low + 1) % knots, fade(at - low, 0, 1)
        grid = grid[low] * (1 - part)[:, None] + grid[high] * part[:, None]
        total += grid[:, low] * (1 - part) + grid[:, high] * part
        knots, strength = 2 * knots, strength * 0.6
    return total


def noise(u: Floats, v: Floats, first: int = 8, finest: int = 512) -> Floats:
    """Noise at these points; it repeats after 1. ``first``, ``finest``: lumps along 1."""
    side = _texels(finest)
    rows, columns = ((values * side).astype(np.int32) & (side - 1) for values in (v, u))
    found: Floats = np.take(_noise(finest, first), rows * side + columns)
    return found


def _texels(finest: int) -> int:
    """Texels along the side of a noise, a power of two."""
    return min(4 * finest, 1024)


def choose_light(random: Random, *, inside: bool) -> Light:
    moods = (
        ((255, 236, 214), (128, 134, 146), 0.35), ((255, 214, 160), (112, 112, 130), 0.25),
        ((214, 226, 255), (128, 130, 134), 0.45),
    ) if inside else (
        ((255, 248, 236), (122, 142, 172), 0.06), ((255, 206, 140), (112, 122, 158), 0.09),
        ((190, 196, 206), (180, 186, 196), 0.55), ((255, 228, 190), (112, 130, 168), 0.07),
    )  # fmt: skip
    beam, sky, soft = moods[random.randint(len(moods))]
    side = random.choice((-1, 1)) * random.uniform(0.35, 0.8)
    sun = unit(vector(side, random.uniform(0.55, 1), random.uniform(-0.45, 0.25)))
    return Light(sun, colour(*beam) * 1.15, colour(*sky) * 0.95, soft)


class _Wood(NamedTuple):
    tone: Floats

    def paint(self, _random: Random, x: Floats, z: Floats) -> Floats:
        broad = 0.28
        board = np.floor(x / broad)
        along = z + board * 0.73 % 1 * 2
        joint = np.floor(along / 2.2)
        pick = noise(board * 0.137 + joint * 0.291, board * 0.071 + joint * 0.173, 256)
        grain = noise(x * 1.7 + pick * 3, along * 0.11 + pick, 16)
        seam = np.abs(x / broad - board - 0.5) > 0.488
        seam |= np.abs(along / 2.2 - joint - 0.5) > 0.4985
        bright = (1 + 0.3 * pick + 0.16 * grain) * (1 - 0.6 * seam)
        return tint(self.tone, bright)


class _Slabs(NamedTuple):
    tone: Floats
    side: float

    def paint(self, random: Random, x: Floats, z: Floats) -> Floats:
        turn = random.uniform(-0.5, 0.5)
        u, v = (x + turn * z) / self.side, (z - turn * x) / self.side
        i, j = np.floor(u), np.floor(v)
        seam = np.maximum(np.abs(u - i - 0.5), np.abs(v - j - 0.5)) > 0.484
        pick = noise(i * 0.137 + j * 0.291, i * 0.071 + j * 0.173, 256)
        stain = noise(x * 0.21, z * 0.21, 8) + 0.6 * noise(x * 0.9, z * 0.9, 64)
        bright = (1 + 0.1 * pick + 0.12 * stain) * (1 - 0.45 * seam)
        return tint(self.tone, bright)


class _Grains(NamedTuple):
    tone: Floats
    other: Floats
    rough: float

    def paint(self, random: Random, x: Floats, z: Floats) -> Floats:
        x, z = x + random.uniform(0, 50), z + random.uniform(0, 50)
        patches = 0.5 + 0.4 * noise(x * 0.13, z * 0.13, 8, 64)
        grains = noise(x * 0.45, z * 0.45, 128, 512)
        bright = np.maximum(1 + self.rough * grains, 0.15)
        return mix(tint(self.tone, np.ones_like(x)), self.other, np.clip(patches, 0, 1)) * bright


_FLOORS = (
    _Wood(colour(176, 130, 88)), _Wood(colour(140, 100, 70)), _Wood(colour(196, 172, 142)),
    _Slabs(colour(190, 184, 174), 0.6), _Grains(colour(120, 124, 134), colour(134, 136, 142), 0.3),
)  # fmt: skip
_GROUNDS = (
    _Grains(colour(104, 104, 106), colour(124, 122, 120), 0.5),
    _Grains(colour(88, 118, 52), colour(122, 140, 70), 0.75),
    _Grains(colour(206, 182, 142), colour(188, 160, 120), 0.3),
    _Slabs(colour(164, 160, 152), 0.9), _Slabs(colour(176, 122, 98), 0.35),
)  # fmt: skip
_WALLS = ((206, 198, 184), (168, 182, 186), (196, 178, 160), (150, 158, 140), (214, 210, 204))


def backdrop(
    random: Random, camera: Camera, light: Light, shadows: Sequence[tuple[Floats, Floats]],
    wall: float | None,
) -> Floats:  # fmt: skip
    """The picture without its objects: (3, height, width). ``shadows``: for each object the points
    (3, n) that bound it, and those where it stands. ``wall``: how far away it is; None: outside."""
    columns = np.arange(camera.width, dtype=np.float32) + 0.5
    rows = np.arange(camera.height, dtype=np.float32) + 0.5
    x, y, z = camera.rays(columns, rows)
    away = camera.lift / np.maximum(-y, camera.lift / FAR / 2)
    # the first row of the ground
    first = int(np.count_nonzero((y >= 0) | (away * z >= (wall or FAR))))
    canvas = np.empty((3, camera.height, camera.width), np.float32)
    paint = _paint_wall if wall else _paint_sky
    coarse = max(round(camera.width / 200), 1)  # out of focus
    behind = paint(random, camera, light, first, coarse)
    canvas[:, :first] = _enlarged(_enlarged(behind, coarse, 1)[:, :first], coarse, 2)[
        ..., : camera.width
    ]
    gx, gz = away[first:, None] * x, (away * z)[first:, None] + 0 * x
    grounds = _FLOORS if wall else _GROUNDS
    ground = grounds[random.randint(len(grounds))].paint(random, gx, gz)
    dark, close = np.ones_like(gx), np.ones_like(gx)
    for points, feet in shadows:
        _cast(dark, close, gx, gz, points, feet, light)
    ground *= tint(light.beam * light.sun[1], dark) + tint(light.sky, close)
    if wall is None:
        ground = mix(ground, light.sky * 1.2, 0.8 * fade(gz[:, :1], 6, FAR))
    canvas[:, first:] = ground
    _blur_far(canvas[:, first : first + (camera.height - first) // 3], camera)
    return canvas


def _enlarged(pixels: Floats, times: int, axis: int) -> Floats:
    """The same picture, larger along an axis, with values between the pixels'."""
    at = np.arange(pixels.shape[axis] * times, dtype=np.float32) / times
    low = np.minimum(at.astype(int), pixels.shape[axis] - 2)
    shape = [1] * 3
    shape[axis] = -1
    part = np.minimum(at - low, 1).reshape(shape)
    lower, upper = (np.take(pixels, low + step, axis) for step in (0, 1))
    between: Floats = lower + (upper - lower) * part
    return between


def _blur_far(ground: Floats, camera: Camera) -> None:
    """Blur the ground's far part, less and less."""
    share = 1 - fade(np.arange(ground.shape[1], dtype=np.float32), 0, max(ground.shape[1], 1))
    step = max(round(camera.width / 250), 1)
    for _ in range(2):
        soft = ground.copy()
        soft[:, :, step:-step] = (
            ground[:, :, step:-step] * 2 + ground[:, :, 2 * step :] + ground[:, :, : -2 * step]
        ) / 4
        soft[:, 1:-1] = (soft[:, 1:-1] * 2 + soft[:, 2:] + soft[:, :-2]) / 4
        ground += (soft - ground) * share[:, None]


def _cast(
    dark: Floats, close: Floats, gx: Floats, gz: Floats, points: Floats, feet: Floats,
    light: Light,
) -> None:  # fmt: skip
    """Darken the ground by a shadow of the sun, and by what hides the sky where things stand."""
    size = points[1].max()
    fallen = (points - tint(light.sun / light.sun[1], points[1]))[[0, 2]]
    corners = np.concatenate([fallen, feet[[0, 2]]], 1)
    blur = 0.2 * light.soft * size + 0.015 * size
    low, high = corners.min(1) - blur - size / 2, corners.max(1) + blur + size / 2
    rows = np.flatnonzero((gz[:, 0] > low[1]) & (gz[:, 0] < high[1]))
    if not len(rows):
        return
    near = (gx[rows] > low[0]) & (gx[rows] < high[0])
    columns = np.flatnonzero(near.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    px, pz = gx[part], gz[part]
    stand = np.maximum(_outside(px, pz, feet[[0, 2]]), 0)
    blur = 0.015 * size + light.soft * stand
    dark[part] *= 1 - 0.95 * fade(-_outside(px, pz, fallen) / blur, -1, 1)
    around = 1 / (1 + (stand / (0.22 * size)) ** 2)
    close[part] *= 1 - 0.8 * around * around


def _outside(x: Floats, z: Floats, corners: Floats) -> Floats:
    """Distances from the hull of points (2, n), negative in it."""
    turns = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    far, beyond = np.full(x.shape, -np.inf, np.float32), np.empty(x.shape, np.float32)
    row = z[:, :1]  # the same in the whole row
    for cosine, sine in zip(np.cos(turns).tolist(), np.sin(turns).tolist(), strict=True):
        most = float((corners[0] * cosine + corners[1] * sine).max())
        np.multiply(x, cosine, out=beyond)
        beyond += row * sine - most
        np.maximum(far, beyond, out=far)
    return far


def _paint_wall(random: Random, camera: Camera, light: Light, end: int, step: int) -> Floats:
    """A wall with a skirting, furniture and pictures that are out of focus, and a window's light;
    every ``step``-th row and column of the rows before ``end``, and one more."""
    rows, columns = _steps(camera, end, step)
    scale = camera.focal / 7
    tone = colour(*_WALLS[random.randint(len(_WALLS))])
    wall = tint(tone, np.ones_like(rows * columns))
    blur = 0.012 * camera.width
    high = end - rows
    for _ in range(random.randint(0, 4)):
        left, wide = random.uniform(-0.2, 1) * camera.width, random.uniform(0.4, 1.4) * scale
        tall = random.uniform(0.4, 1.4) * scale
        bottom = 0 if random.randint(2) else random.uniform(0.8, 1.6) * scale
        shape = _between(columns, left, left + wide, blur)
        shape = shape * _between(high, bottom, bottom + tall, blur)
        paint = colour(*(random.uniform(60, 200) + random.uniform(-25, 25, 3)))
        wall = mix(wall, paint, 0.85 * shape)
    skirting = _between(high, -scale, 0.12 * scale, blur / 3)
    wall = mix(wall, colour(226, 222, 216), 0.8 * skirting + 0 * columns)
    slant = columns - rows * random.uniform(-0.7, 0.7) - random.uniform(0, 1) * camera.width
    patch = fade(-np.abs(slant), -0.3 * camera.width, -0.1 * camera.width)
    falling = 0.75 + 0.35 * rows / max(end, 1) + 0 * columns
    wall *= tint(light.sky, falling) + tint(light.beam, 0.12 + 0.4 * patch)
    return wall


def _steps(camera: Camera, end: int, step: int) -> tuple[Floats, Floats]:
    rows = np.arange(0, end + 2 * step, step, dtype=np.float32)
    columns = np.arange(0, camera.width + 2 * step, step, dtype=np.float32)
    return rows[:, None], columns


def _between(values: Floats, low: float, high: float, blur: float) -> Floats:
    return fade(values, low - blur, low + blur) * fade(-values, -high - blur, -high + blur)


def _paint_sky(random: Random, camera: Camera, light: Light, end: int, step: int) -> Floats:
    """Sky with clouds, and trees or hills out of focus; rows and columns as in ``_paint_wall``."""
    rows, columns = _steps(camera, end, step)
    high, u = (end - rows) / camera.focal, columns / camera.focal
    high, u = np.broadcast_arrays(high, u)
    start, other = random.uniform(0, 1, 2).tolist()
    zenith = light.sky * vector(0.8, 1.15, 1.7)
    sky = tint(light.sky * 0.9 + light.beam * 0.5, np.ones_like(u))
    sky = mix(sky, zenith, fade(high, 0, 0.5))
    cloud = fade(noise(0.45 * u + start, 1.3 * high + other, 4, 256), -0.1, 1.1)
    sky = mix(sky, light.beam * 0.75 + light.sky * 0.6, 0.8 * cloud)
    for depth, (rise, size) in enumerate(((0.10, 0.35), (0.05, 0.9))):
        bumps = noise(u * size + other, 0 * u + start + depth * 0.3, 4, 128)
        outline = rise * random.uniform(0.6, 1.5) * (1 + 0.6 * bumps)
        trees = fade(outline - high, -0.012, 0.012)
        leaves = 1 + 0.4 * noise(u * 1.1 + other, high * 1.1 + depth, 16, 64)
        tone = colour(*((96, 116, 112), (62, 84, 54))[depth]) * random.uniform(0.6, 1.2)
        sky += (tint(tone * (light.beam * 0.45 + light.sky), leaves) - sky) * trees
    return sky
