"""The 1,797 real handwritten digits that scikit-learn ships, as PNG files: three quarters to learn from."""

import struct
import zlib
from pathlib import Path

from sklearn.datasets import load_digits


def write(folder: Path) -> dict[str, int]:
    """Write `training/<digit>/<n>.png` and `testing/…`; return how many of each."""
    pictures = load_digits()
    counts = {"training": 0, "testing": 0}
    for number, (picture, digit) in enumerate(zip(pictures.images, pictures.target, strict=True)):
        split = "testing" if number % 4 == 3 else "training"
        place = folder / split / str(digit)
        place.mkdir(parents=True, exist_ok=True)
        rows = [bytes(min(255, int(value) * 16) for value in row) for row in picture]
        (place / f"{number:04d}.png").write_bytes(png(rows))
        counts[split] += 1
    return counts


def png(rows: list[bytes]) -> bytes:
    """Return an 8-bit greyscale PNG (RFC 2083)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
