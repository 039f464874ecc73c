"""What is packed carries a check sum; what was packed before there was one is read as it was."""

from __future__ import annotations

from itertools import combinations

import pytest
import zstandard

from edge.store.squeeze import RAW, UNSUMMED_RAW, UNSUMMED_ZSTD, ZSTD, squeeze, unsqueeze

SHORT = b"\x05\x01\x02level"
LONG = bytes(range(64)) * 8
KINDS = (RAW, ZSTD, UNSUMMED_RAW, UNSUMMED_ZSTD)


def bits_apart(one: bytes, other: bytes) -> int:
    return (one[0] ^ other[0]).bit_count()


@pytest.mark.parametrize("data", [b"", SHORT, LONG])
def test_what_is_squeezed_comes_back(data: bytes) -> None:
    assert unsqueeze(squeeze(data)) == data
    assert squeeze(data)[:1] == (ZSTD if data == LONG else RAW)


def test_what_was_squeezed_before_there_was_a_check_sum_is_read() -> None:
    press = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters.from_level(
        6, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=1, write_checksum=0, write_dict_id=0,
    ))  # fmt: skip
    assert unsqueeze(b"\0" + SHORT) == SHORT
    assert unsqueeze(b"\0") == b""
    assert unsqueeze(b"\1" + press.compress(LONG)) == LONG


@pytest.mark.parametrize("data", [SHORT, LONG])
def test_any_single_bit_that_is_lost_is_found(data: bytes) -> None:
    whole = squeeze(data)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="is not what was written"):
            unsqueeze(bytes(damaged))


def test_one_lost_bit_or_two_never_turn_a_chunk_with_a_sum_into_another_kind() -> None:
    for one, other in combinations(KINDS, 2):
        assert bits_apart(one, other) >= 3 or {one, other} == {UNSUMMED_RAW, UNSUMMED_ZSTD}


@pytest.mark.parametrize("data", [b"", b"\x66", b"\x99\0\0", b"\1", b"\1\0", b"\x02" + SHORT])
def test_what_ends_too_soon_or_begins_with_an_unknown_byte_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not what was written|cannot be unpacked"):
        unsqueeze(data)
