"""What stands in the demo's pictures: balls, boxes and cones, hit by rays of a camera. Arrays are
as in ``scene``."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from recpack.demo.scene import Floats, Light, Random, colour, dot, fade, noise, tint, unit, vector

BRIGHT = (
    (214, 50, 40), (238, 190, 40), (44, 108, 196), (60, 160, 84), (236, 120, 40), (240, 236, 226),
    (126, 72, 160), (230, 110, 140), (70, 190, 196), (40, 44, 52),
)  # fmt: skip
Bools = npt.NDArray[np.bool_]


class Surface(NamedTuple):
    """The points, normals and colours (3, n) where n rays meet a thing."""

    points: Floats
    normals: Floats
    paint: Floats


class Thing(Protocol):
    """An object on the ground."""

    gloss: float

    def bounds(self) -> Floats:
        """Points (3, n) whose hull holds it."""

    def feet(self) -> Floats:
        """Points (3, n) around where it stands."""

    def depth(self, eye: Floats, rays: Floats) -> Floats:
        """How many times a ray's length it is away; inf where a ray does not meet it."""

    def surface(self, points: Floats) -> Surface:
        """What it is like at these points of it."""


def _ring(x: float, y: float, z: float, radius: float) -> Floats:
    turns = np.arange(16, dtype=np.float32) * np.float32(np.pi / 8)
    return np.stack([x + radius * np.cos(turns), y + 0 * turns, z + radius * np.sin(turns)])


class Ball:
    """A play ball, a basketball or a tennis ball."""

    def __init__(self, random: Random, x: float, z: float, size: float, paint: Floats | None):
        self._middle, self._radius = vector(x, size / 2, z), size / 2
        kind = random.randint(5)
        first, second = (BRIGHT[i] for i in random.choice(len(BRIGHT), 2, replace=False))
        one, other = unit(random.normal(size=(3, 2)).astype(np.float32)).T
        across = unit(np.cross(one, other))
        self._axes = np.stack([one, across, np.cross(one, across)])
        self._kind = 0 if paint is not None else kind
        self.gloss = (0.5, 0.5, 0.08, 0.03, 0.5)[self._kind]
        self._paint = colour(*{2: (206, 104, 44), 3: (206, 222, 66)}.get(self._kind, first))
        self._mark = colour(*{2: (40, 34, 32), 3: (244, 244, 236)}.get(self._kind, second))
        if paint is not None:
            self._paint = paint

    def bounds(self) -> Floats:
        x, y, z = self._middle.tolist()
        shares = (0.0, 0.35, 0.7, 0.95, 1.0, -0.35, -0.7, -0.95, -1.0)
        r = self._radius
        rings = [_ring(x, y + h * r, z, float(np.sqrt(1 - h * h)) * r) for h in shares]
        return np.concatenate(rings, 1)

    def feet(self) -> Floats:
        x, _, z = self._middle.tolist()
        return _ring(x, 0, z, self._radius * 0.3)

    def depth(self, eye: Floats, rays: Floats) -> Floats:
        start = eye - self._middle
        a = dot(rays, rays)
        b = dot(rays, start)
        root = b * b - a * (start @ start - np.float32(self._radius**2))
        depth = (-b - np.sqrt(np.maximum(root, 0))) / a
        return np.where(root > 0, depth, np.float32(np.inf))

    def surface(self, points: Floats) -> Surface:
        normals = unit(points - self._middle[:, None])
        u, v, w = self._axes @ normals
        if self._kind == 1:  # six segments, and caps
            marked = (u > 0) ^ (u * 0.5 + v * 0.866 > 0) ^ (u * 0.5 - v * 0.866 > 0)
            marked ^= np.abs(w) > 0.96
        elif self._kind == 2:  # two great circles and two arcs
            marked = np.minimum(np.abs(u), np.abs(v)) < 0.022
            marked |= np.abs(np.abs(u) - 0.5 - 0.28 * v * v) < 0.022
        elif self._kind == 3:
            marked = np.abs(w - 1.1 * (u * u - v * v) * (1.2 - w * w)) < 0.06
        else:
            marked = (np.abs(w) < 0.24) & (self._kind == 4)
        bright = np.ones_like(u)
        if self._kind in (2, 3):  # leather, felt
            bright += 0.2 * noise(u, v + w, 128, 512)
        return Surface(points, normals, _painted(self._paint, (marked, self._mark)) * bright)


class Box:
    """A box of cardboard, of boards, with a ribbon, or painted."""

    def __init__(
        self, random: Random, x: float, z: float, size: float, paint: Floats | None,
        half: Floats | None = None,
    ) -> None:  # fmt: skip
        self._half = vector(*random.uniform(0.32, 0.5, 3)) * size if half is None else half
        self._middle = vector(x, self._half[1], z)
        angle = random.uniform(0.25, 1.3)
        self._cosine, self._sine = float(np.cos(angle)), float(np.sin(angle))
        self._kind = 3 if paint is not None else random.randint(4)
        self._shift = random.uniform(0, 1)
        self.gloss = 0.25 if self._kind >= 2 else 0.04
        bright = BRIGHT[random.randint(len(BRIGHT))]
        tone = ((182, 140, 96), (178, 134, 82), bright, bright)[self._kind]
        self._paint = colour(*tone) if paint is None else paint

    def _inward(self, vectors: Floats) -> Floats:
        """Vectors in the box's own directions."""
        x, y, z = vectors
        return np.stack([self._cosine * x + self._sine * z, y, self._cosine * z - self._sine * x])

    def _outward(self, vectors: Floats) -> Floats:
        x, y, z = vectors
        return np.stack([self._cosine * x - self._sine * z, y, self._cosine * z + self._sine * x])

    def bounds(self) -> Floats:
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), np.float32).reshape(3, -1)
        return self._middle[:, None] + self._outward(corners * self._half[:, None])

    def feet(self) -> Floats:
        bounds = self.bounds()
        return bounds[:, bounds[1] < self._half[1]]

    def depth(self, eye: Floats, rays: Floats) -> Floats:
        start = self._inward(eye - self._middle)
        enter = np.full(rays.shape[1:], -np.inf, np.float32)
        leave = -enter
        for from_, way, half in zip(start, self._inward(rays), self._half, strict=True):
            way = np.where(np.abs(way) < 1e-6, np.float32(1e-6), way)
            one, two = (-half - from_) / way, (half - from_) / way
            enter = np.maximum(enter, np.minimum(one, two))
            leave = np.minimum(leave, np.maximum(one, two))
        return np.where(leave > enter, enter, np.float32(np.inf))

    def surface(self, points: Floats) -> Surface:
        x, y, z = self._inward(points - self._middle[:, None])
        wide, tall, deep = self._half.tolist()
        beyond = np.stack([np.abs(x) - wide, np.abs(y) - tall, np.abs(z) - deep])
        face = beyond.argmax(0).astype(np.float32)
        u, v = np.where(face == 0, z, x), np.where(face == 1, z, y)
        a, b = u / np.where(face == 0, deep, wide), v / np.where(face == 1, deep, tall)
        normals = np.sign(np.stack([x, y, z])) * (face == np.arange(3)[:, None])
        edge = -np.sort(beyond, 0)[1] / max(wide, tall, deep)
        worn = 1 + 0.25 * fade(-edge, -0.05, -0.02) - 0.2 * fade(-edge, -0.02, 0)
        paint = self._decorated(face, a, b, u, v) * worn.astype(np.float32)
        return Surface(points, self._outward(normals.astype(np.float32)), paint)

    def _decorated(self, face: Floats, a: Floats, b: Floats, u: Floats, v: Floats) -> Floats:
        """``a``, ``b``: -1 to 1 across a face; ``u``, ``v``: metres."""
        top = face == 1
        stains = noise(u * 0.8 + face * 0.31 + self._shift, v * 0.8, 8, 256)
        if self._kind == 0:  # tape along the upper face and down two sides, and a printed label
            tape = (np.abs(a) < 0.16) & (top | ((face == 2) & (b > 0.45)))
            label = (face == 0) & (np.abs(a + 0.35) < 0.4) & (np.abs(b + 0.2) < 0.3)
            lines = label & (np.abs(a + 0.35) < 0.32) & (b * 14 % 1 < 0.45) & (b < 0)
            slit = top & (np.abs(a) < 0.012)
            paint = _painted(
                self._paint, (tape, colour(206, 178, 130)), (label, colour(236, 234, 228)),
                (lines, colour(70, 70, 74)),
            )  # fmt: skip
            paint *= (1 + 0.1 * stains) * (1 - 0.35 * slit)
            return paint
        if self._kind == 1:  # boards in a frame
            outer = np.maximum(np.abs(a), np.abs(b))
            frame, row = outer > 0.76, (b + 1) * 2.5
            gap = ((row % 1 < 0.07) & ~frame) | (np.abs(outer - 0.76) < 0.02)
            tone = noise(np.floor(row) * 0.37 + face * 0.2 + self._shift, 0 * row, 256)
            upright = frame & (np.abs(a) > np.abs(b))
            along, across = np.where(upright, v, u), np.where(upright, u, v)
            grain = noise(along * 0.25 + tone, across * 2.5, 16)
            bright = 1 + 0.18 * np.where(frame, 0.6, tone) + 0.22 * grain
            return tint(self._paint, bright * (1 - 0.65 * gap))
        ribbon = (np.abs(a) < 0.14) | ((np.abs(b) < 0.14) & top)
        paint = _painted(self._paint, (ribbon & (self._kind == 2), colour(244, 226, 180)))
        paint *= 1 + 0.05 * stains
        return paint


class Cone:
    """A traffic cone with two white stripes on a square base."""

    def __init__(self, random: Random, x: float, z: float, size: float, paint: Floats | None):
        self._foot, self.gloss = vector(x, 0, z), 0.2
        self._tall, self._low, self._top = size, size * 0.26, size * 0.035
        tones = ((240, 96, 30), (240, 96, 30), (226, 60, 40), (238, 190, 40), (52, 120, 200))
        tone = colour(*tones[random.randint(len(tones))])
        plate = tone if random.randint(2) else colour(44, 44, 48)
        self._paint, self._stripe = tone, colour(240, 240, 236)
        if paint is not None:
            self._paint = self._stripe = plate = paint
        half = vector(0.32, 0.025, 0.32) * size
        self._base = Box(random, x, z, size, plate, half)

    def bounds(self) -> Floats:
        x, _, z = self._foot.tolist()
        tip, rim = _ring(x, self._tall, z, self._top), _ring(x, 0, z, self._low)
        return np.concatenate([tip, rim, self._base.bounds()], 1)

    def feet(self) -> Floats:
        return self._base.feet()

    def depth(self, eye: Floats, rays: Floats) -> Floats:
        x, y, z = (eye - self._foot).tolist()
        dx, dy, dz = rays
        lean = (self._low - self._top) / self._tall
        narrow = self._low - lean * y
        a = dx * dx + dz * dz - lean**2 * dy * dy
        b = x * dx + z * dz + lean * narrow * dy
        root = b * b - a * (x * x + z * z - narrow**2)
        side = (-b - np.sqrt(np.maximum(root, 0))) / a
        height = y + side * dy
        side[(root <= 0) | (height < 0) | (height > self._tall)] = np.inf
        lid = (self._tall - y) / np.where(np.abs(dy) < 1e-6, np.float32(1e-6), dy)
        lid[(lid < 0) | ((x + lid * dx) ** 2 + (z + lid * dz) ** 2 > self._top**2)] = np.inf
        nearest: Floats = np.minimum(np.minimum(side, lid), self._base.depth(eye, rays))
        return nearest

    def surface(self, points: Floats) -> Surface:
        x, y, z = points - self._foot[:, None]
        lean = (self._low - self._top) / self._tall
        radius = np.sqrt(x * x + z * z)
        lid = y > self._tall * 0.999
        normals = np.stack([x, lean * radius + np.float32(1e3) * lid, z])
        share = y / self._tall
        stripe = ((share > 0.36) & (share < 0.53)) | ((share > 0.68) & (share < 0.82))
        paint = _painted(self._paint, (stripe, self._stripe), (lid, self._paint * 0.3))
        # what is not on the cone's side is on the base
        base = (radius - (self._low - lean * y) > 1e-3 * self._tall) & ~lid
        below = self._base.surface(points[:, base])
        normals = unit(normals)
        normals[:, base], paint[:, base] = below.normals, below.paint
        return Surface(points, normals, paint)


KINDS: dict[str, type[Ball | Box | Cone]] = {"ball": Ball, "box": Box, "cone": Cone}


def _painted(ground: Floats, *marks: tuple[Bools, Floats]) -> Floats:
    """A colour (3, n) with marks of others, the last on top."""
    paint = np.repeat(ground[:, None], marks[0][0].size, 1)
    for where, tone in marks:
        np.copyto(paint, tone[:, None], where=where)
    return paint


def shade(thing: Thing, surface: Surface, eye: Floats, light: Light) -> Floats:
    """The colours (3, n) of a thing in this light."""
    points, normals, paint = surface
    facing = light.sun @ normals
    lit = fade(facing, -0.3 * light.soft, 1) if light.soft > 0.3 else np.maximum(facing, 0)
    upper = 0.5 + 0.5 * normals[1]
    seen = 0.45 + 0.55 * fade(points[1] / thing.bounds()[1].max(), -0.05, 0.5)  # of the sky
    bounce = light.beam * light.sun[1] * 0.13 + light.sky * 0.15
    colours: Floats = paint * (
        tint(light.beam, lit) + tint(light.sky, upper * seen) + tint(bounce, 1 - upper)
    )
    view = unit(eye[:, None] - points)
    half = unit(view + light.sun[:, None])
    broad = np.maximum(dot(normals, half), 0)
    for _ in range(4):
        broad = broad * broad
    sharp = broad * broad
    sharp = sharp * sharp
    rim = 1 - np.maximum(dot(normals, view), 0)
    colours += tint(light.beam * thing.gloss, 0.25 * broad + 0.9 * sharp)
    colours += tint(light.sky * thing.gloss, rim * rim * rim * upper * seen)
    return colours
