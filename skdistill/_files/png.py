"""Pixels as a PNG file in memory, without Pillow or matplotlib."""

import struct
import zlib

import numpy as np

# PNG's kinds of pixels, by number of channels: gray, RGB, RGBA.
_KINDS = {1: 0, 3: 2, 4: 6}


def encode(pixels: np.ndarray) -> bytes:
    """Return an image of bytes, of shape (H, W), (H, W, 3) or (H, W, 4), as a PNG file."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    # Each line starts with its filter: 0 means no filter.
    lines = np.insert(pixels.reshape(height, -1), 0, 0, axis=1)
    data = zlib.compress(lines.tobytes(), 9)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
