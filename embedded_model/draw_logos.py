"""Draw the personalities' logos: a few plain shapes each, written as PNG."""

from __future__ import annotations

import argparse
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from embedded_model.text.zoo import FOLDER

SIZE = 128
FINE = 3  # samples per pixel in each direction, for smooth edges
Inside = Callable[[float, float], bool]
Shape = tuple[str, Inside]  # a colour as rrggbb and its area; coordinates from 0 to 100


def ellipse(x: float, y: float, a: float, b: float | None = None) -> Inside:
    """An ellipse around (x, y); a circle with one radius."""
    b = b or a
    return lambda u, v: ((u - x) / a) ** 2 + ((v - y) / b) ** 2 <= 1


def box(left: float, top: float, right: float, bottom: float) -> Inside:
    """A rectangle."""
    return lambda u, v: left <= u <= right and top <= v <= bottom


def polygon(*points: tuple[float, float]) -> Inside:
    """A polygon, by counting crossings."""

    def inside(u: float, v: float) -> bool:
        hit = False
        for (x1, y1), (x2, y2) in zip(points, (*points[1:], points[0]), strict=True):
            if (y1 > v) != (y2 > v) and u < x1 + (v - y1) / (y2 - y1) * (x2 - x1):
                hit = not hit
        return hit

    return inside


def both(one: Inside, other: Inside) -> Inside:
    """The intersection."""
    return lambda u, v: one(u, v) and other(u, v)


def without(one: Inside, other: Inside) -> Inside:
    """The first without the second."""
    return lambda u, v: one(u, v) and not other(u, v)


def _eyes(y: float, gap: float, size: float, colour: str = "2b2b33") -> list[Shape]:
    return [(colour, ellipse(50 - gap, y, size)), (colour, ellipse(50 + gap, y, size))]


def _smile(y: float, width: float, colour: str = "2b2b33") -> list[Shape]:
    return [
        (
            colour,
            without(
                ellipse(50, y, width, width * 0.6), ellipse(50, y - 4, width * 1.2, width * 0.6)
            ),
        )
    ]


SKIN = "f2c9a1"
LOGOS: dict[str, tuple[str, list[Shape]]] = {
    "english/service/pebble": (
        "bfe3e0",
        [
            ("7d8a97", ellipse(50, 57, 37, 28)),
            ("94a1ad", ellipse(46, 51, 30, 19)),
            ("b4bfc8", ellipse(38, 43, 11, 5)),
            *_eyes(58, 11, 3.6),
            *_smile(66, 8),
        ],
    ),
    "english/service/butler": (
        "d9d2c3",
        [
            ("23232b", polygon((14, 100), (26, 76), (74, 76), (86, 100))),
            ("ffffff", polygon((40, 75), (60, 75), (50, 100))),
            (SKIN, ellipse(50, 47, 23, 28)),
            ("4a3a2c", both(ellipse(50, 42, 25, 27), box(0, 0, 100, 30))),
            *_eyes(45, 9, 2.6),
            ("4a3a2c", polygon((36, 60), (50, 55), (64, 60), (50, 63))),
            ("a3262e", polygon((38, 76), (50, 82), (38, 89))),
            ("a3262e", polygon((62, 76), (50, 82), (62, 89))),
        ],
    ),
    "english/fun/pirate": (
        "8fc7e8",
        [
            (SKIN, ellipse(50, 55, 25, 29)),
            ("7a4a21", both(ellipse(50, 62, 26, 27), box(0, 66, 100, 100))),
            ("1d1d24", polygon((12, 42), (25, 22), (50, 12), (75, 22), (88, 42), (50, 34))),
            ("ffffff", ellipse(50, 25, 5)),
            ("ffffff", box(42, 29, 58, 31)),
            ("1d1d24", ellipse(40, 51, 7, 6)),
            ("1d1d24", polygon((26, 42), (30, 40), (70, 52), (70, 54))),
            ("2b2b33", ellipse(60, 51, 3)),
            ("f4e8df", both(ellipse(50, 67, 11, 6), box(0, 67, 100, 100))),
        ],
    ),
    "english/fun/poet": (
        "e8d4ee",
        [
            ("fffaf0", polygon((22, 30), (70, 22), (80, 82), (32, 90))),
            ("b9a8c9", polygon((30, 44), (66, 38), (66.5, 40), (30.5, 46))),
            ("b9a8c9", polygon((32, 56), (68, 50), (68.5, 52), (32.5, 58))),
            ("b9a8c9", polygon((34, 68), (56, 64), (56.5, 66), (34.5, 70))),
            ("5b4b8a", polygon((88, 8), (94, 16), (70, 50), (60, 72), (57, 71), (60, 48))),
            ("8f7cc0", polygon((88, 8), (70, 42), (60, 70), (62, 44))),
        ],
    ),
    "english/fun/robot": (
        "ffe2a8",
        [
            ("5c6b7a", box(48, 10, 52, 26)),
            ("e4572e", ellipse(50, 11, 5)),
            ("8fa1b3", box(20, 26, 80, 78)),
            ("5c6b7a", box(12, 44, 20, 60)),
            ("5c6b7a", box(80, 44, 88, 60)),
            ("243447", box(27, 35, 73, 56)),
            *_eyes(45, 11, 6, "7ef0d4"),
            ("243447", box(32, 64, 68, 71)),
            ("ffffff", box(38, 65.5, 41, 69.5)),
            ("ffffff", box(48, 65.5, 51, 69.5)),
            ("ffffff", box(58, 65.5, 61, 69.5)),
            ("5c6b7a", box(38, 78, 62, 88)),
        ],
    ),
    "english/learning/dr. owl": (
        "cfe8c4",
        [
            ("7b5236", ellipse(50, 58, 32, 36)),
            ("7b5236", polygon((20, 22), (42, 32), (26, 50))),
            ("7b5236", polygon((80, 22), (58, 32), (74, 50))),
            ("c99c6b", ellipse(50, 72, 20, 20)),
            ("fdf6e3", ellipse(37, 46, 13)),
            ("fdf6e3", ellipse(63, 46, 13)),
            *_eyes(46, 13, 6),
            ("f0a22e", polygon((45, 54), (55, 54), (50, 64))),
            ("24324a", polygon((50, 8), (82, 18), (50, 28), (18, 18))),
            ("24324a", box(78, 18, 80, 34)),
        ],
    ),
    "french/service/concierge": (
        "f3d7d7",
        [
            ("7c1f2d", polygon((14, 100), (24, 78), (76, 78), (86, 100))),
            ("e0b64a", ellipse(50, 86, 2.2)),
            ("e0b64a", ellipse(50, 95, 2.2)),
            (SKIN, ellipse(50, 52, 22, 27)),
            ("7c1f2d", box(29, 14, 71, 34)),
            ("e0b64a", box(29, 28, 71, 32)),
            *_eyes(47, 8.5, 2.6),
            ("2b2b33", without(ellipse(50, 60, 13, 5), ellipse(50, 64, 14, 4))),
            *_smile(66, 6),
        ],
    ),
    "french/fun/mamie": (
        "fbe3c0",
        [
            ("d7d7de", ellipse(50, 46, 32, 32)),
            ("d7d7de", ellipse(50, 14, 13, 11)),
            (SKIN, ellipse(50, 54, 24, 27)),
            ("8a6fb0", without(ellipse(39, 50, 10), ellipse(39, 50, 8))),
            ("8a6fb0", without(ellipse(61, 50, 10), ellipse(61, 50, 8))),
            ("8a6fb0", box(48, 49, 52, 51)),
            *_eyes(50, 11, 2.6),
            ("eda79b", ellipse(32, 63, 5, 4)),
            ("eda79b", ellipse(68, 63, 5, 4)),
            *_smile(66, 8),
            ("c65b7c", polygon((20, 100), (32, 84), (68, 84), (80, 100))),
        ],
    ),
}


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour))


def _sample(u: float, v: float, disc: str, shapes: Sequence[Shape]) -> tuple[int, ...]:
    """RGBA at a point; everything is drawn on a disc."""
    if not ellipse(50, 50, 49.5)(u, v):
        return (0, 0, 0, 0)
    colour = disc
    for value, inside in shapes:
        if inside(u, v):
            colour = value
    return (*_rgb(colour), 255)


def png(disc: str, shapes: Sequence[Shape]) -> bytes:
    """The logo as a PNG of SIZE x SIZE pixels with an alpha channel."""
    rows = bytearray()
    for y in range(SIZE):
        rows.append(0)
        for x in range(SIZE):
            places = [
                ((x + (i + 0.5) / FINE) / SIZE * 100, (y + (j + 0.5) / FINE) / SIZE * 100)
                for i in range(FINE)
                for j in range(FINE)
            ]
            points = [_sample(u, v, disc, shapes) for u, v in places]
            opaque = [p for p in points if p[3]] or [(0, 0, 0, 0)]
            rows += bytes(sum(p[c] for p in opaque) // len(opaque) for c in range(3))
            rows.append(sum(p[3] for p in points) // len(points))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + chunk(b"IEND", b"")
    )


def main() -> None:
    """python -m embedded_model.draw_logos"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the personalities folder")
    options = parser.parse_args()
    for folder, (disc, shapes) in LOGOS.items():
        path = options.out / folder / "assets" / "logo.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(disc, shapes))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
