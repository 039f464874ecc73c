"""The general compressor under packed history: zstandard, in frames of our own that are as short as they can be.

Level 6: on the demo community's series it takes 1.3 % less than level 3 for a tenth more time; levels 9 and 15
take another 0.5 % at most, for up to half as much time again.
"""

from __future__ import annotations

import threading
from zlib import crc32

import zstandard

LEVEL = 6
RAW, ZSTD = b"\x66", b"\x99"
"""First byte of what is written: then its check sum, then the bytes as they were or compressed."""
UNSUMMED_RAW, UNSUMMED_ZSTD = b"\0", b"\1"
"""The same of an earlier Courtyard, which wrote no check sum; only read. Each of the four differs from the others in
three bits or more, these two apart: so one lost bit never makes a chunk with a sum into one without."""
SUM = 3
"""Bytes of the check sum (CRC-32, its end): of damaged chunks one in 16 million is not found."""
SHORTEST = 24
"""Fewer bytes than this a compressor only lengthens."""
LONGEST = 2**28
"""What no chunk of ours comes to: a damaged length must not take all memory."""

_own = threading.local()  # a compressor is for one thread


def squeeze(data: bytes) -> bytes:
    """Compressed, where that is shorter."""
    if len(data) >= SHORTEST:
        try:
            compressor = _own.compressor
        except AttributeError:
            compressor = _own.compressor = _compressor(LEVEL)
        short: bytes = compressor.compress(data)
        if len(short) < len(data):
            return _summed(ZSTD, short)
    return _summed(RAW, data)


def unsqueeze(data: bytes) -> bytes:
    """What was squeezed. Raises ValueError where it is damaged."""
    kind, body = data[:1], data[1:]
    if kind in (RAW, ZSTD):
        check, body = body[:SUM], body[SUM:]
        if check != _sum(kind, body):
            raise ValueError("is not what was written: its check sum is another")
    elif kind not in (UNSUMMED_RAW, UNSUMMED_ZSTD):
        raise ValueError(f"is not what was written: it begins with 0x{kind.hex()}, which stands for nothing")
    return body if kind in (RAW, UNSUMMED_RAW) else _decompressed(body)


def _decompressed(body: bytes) -> bytes:
    try:
        decompressor = _own.decompressor
    except AttributeError:
        decompressor = _own.decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    try:
        found: bytes = decompressor.decompress(body, max_output_size=LONGEST)
    except zstandard.ZstdError as error:
        raise ValueError(f"cannot be unpacked ({error})") from error
    return found


def _summed(kind: bytes, body: bytes) -> bytes:
    return kind + _sum(kind, body) + body


def _sum(kind: bytes, body: bytes) -> bytes:
    """SQLite knows no check sum, and a bit that a card has lost would be a value that looks good."""
    return crc32(body, crc32(kind)).to_bytes(4, "big")[-SUM:]


def cost(data: bytes) -> int:
    """How long it is about to be, found out cheaply."""
    try:
        trial = _own.trial
    except AttributeError:
        trial = _own.trial = _compressor(1)
    return len(trial.compress(data))


def _compressor(level: int) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=1, write_checksum=0, write_dict_id=0
    )
    return zstandard.ZstdCompressor(compression_params=parameters)
