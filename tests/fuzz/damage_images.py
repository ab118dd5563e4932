"""Damage to image files that keeps their structure: chunks, sizes and checksums."""

import random
import struct
import zlib

from tests.fuzz.damage import Damaged, damage_bytes

_PNG_START = b"\x89PNG\r\n\x1a\n"
_BLOCK = 1 << 20
_ADLER_MODULUS = 65_521
_SIZES = (0, 1, 7, 13_000, 16_384, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def _split_png(data):
    chunks, place = [], len(_PNG_START)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 :][:length]))
        place += 12 + length
    return chunks


def _write_chunk(kind, body, crc=None):
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def _damage_header(chunks, rng):
    kind, body = chunks[0]
    fields = list(struct.unpack(">IIBBBBB", body[:13].ljust(13, b"\0")))
    if rng.random() < 0.3:  # Large, and still decodable by its header.
        size = rng.choice((5_000, 13_000, 30_000))
        fields[:4] = [size, size, rng.choice((8, 16)), rng.choice((0, 2, 4, 6))]
    else:
        place = rng.randrange(len(fields))
        numbers = _SIZES if place < 2 else (0, 1, 2, 3, 4, 6, 7, 8, 16, 255)
        fields[place] = rng.choice(numbers)
    chunks[0] = (kind, struct.pack(">IIBBBBB", *fields))
    return f"header {fields}"


def _pack_zeros(count):
    """Returns what zlib makes of many zeros, without compressing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(b"\0" * _BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(b"\0" * (count % _BLOCK)) + packer.flush()
    checksum = (count % _ADLER_MODULUS) << 16 | 1
    return b"\x78\x9c" + block * (count // _BLOCK) + rest + struct.pack(">I", checksum)


def _fill_image(chunks, rng):
    """Makes a large image whose pixels are all there, in a small file."""
    size = rng.choice((3_000, 8_000, 13_000))
    depth, kind = rng.choice(((8, 2), (16, 6), (8, 0), (16, 4)))
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
    packed = _pack_zeros((1 + size * channels * depth // 8) * size)
    header = struct.pack(">IIBBBBB", size, size, depth, kind, 0, 0, 0)
    chunks[:] = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    return f"an image of {size} x {size}, {depth} bits, color type {kind}"


def _damage_chunk(chunks, rng):
    number = rng.randrange(len(chunks))
    kind, body = chunks[number]
    way = rng.choice(("drop", "repeat", "swap", "body", "body", "kind"))
    if way == "drop":
        del chunks[number]
    elif way == "repeat":
        chunks.insert(number, chunks[number])
    elif way == "swap":
        second = rng.randrange(len(chunks))
        chunks[number], chunks[second] = chunks[second], chunks[number]
    elif way == "body":
        chunks[number] = (kind, damage_bytes(body, rng, body).data or b"")
    else:
        chunks[number] = (rng.choice((b"tEXt", b"acTL", b"abcd", b"ABCD")), body)
    return f"chunk {number} {kind.decode('latin-1')}: {way}"


def _add_chunk(chunks, rng):
    bomb = _pack_zeros(50_000_000)
    added = rng.choice(
        (
            (b"zTXt", b"Comment\0\0" + bomb),
            (b"iCCP", b"profile\0\0" + bomb),
            (b"tRNS", rng.randbytes(6)),
            (b"eXIf", rng.randbytes(40)),
            (b"PLTE", rng.randbytes(rng.choice((3, 4, 768)))),
            (b"tEXt", rng.randbytes(30)),
        )
    )
    chunks.insert(rng.randint(1, len(chunks)), added)
    return f"chunk {added[0].decode()} added"


def _damage_png(data, rng):
    chunks = _split_png(data)
    if not chunks:
        return damage_bytes(data, rng, data)
    if rng.random() < 0.15:
        number = rng.randrange(len(chunks))
        parts = [
            _write_chunk(*chunk, crc=rng.getrandbits(32) if i == number else None)
            for i, chunk in enumerate(chunks)
        ]
        return Damaged(_PNG_START + b"".join(parts), f"checksum of chunk {number}")
    ways = (_damage_header, _damage_header, _damage_chunk, _damage_chunk, _add_chunk)
    what = rng.choice((*ways, _fill_image))(chunks, rng)
    return Damaged(_PNG_START + b"".join(_write_chunk(*c) for c in chunks), what)


def _patch(data, rng, place, layout):
    size = rng.choice(_SIZES) % 2 ** (8 * struct.calcsize(layout))
    patched = data[:place] + struct.pack(layout, size)
    return Damaged(patched + data[len(patched) :], f"{size} at byte {place}")


def damage_image(data: bytes, rng: random.Random, other: bytes) -> Damaged:
    """Changes the dimensions or the chunks of an image, by the start of its file."""
    if data.startswith(_PNG_START):
        return _damage_png(data, rng)
    if data.startswith(b"\xff\xd8"):
        starts = [
            i for kind in (0xC0, 0xC2) if (i := data.find(bytes([255, kind]))) > 0
        ]
        if starts:
            return _patch(data, rng, starts[0] + rng.choice((5, 7)), ">H")
    elif data.startswith(b"GIF"):
        frame = max(data.find(b"\x2c"), 6)
        return _patch(data, rng, rng.choice((6, 8, frame + 5, frame + 7)), "<H")
    elif data.startswith(b"BM"):
        return _patch(data, rng, rng.choice((10, 18, 22, 28, 34, 46)), "<I")
    elif data.startswith(b"RIFF"):
        return _patch(data, rng, rng.choice((4, 16, 24, 26, 28)), "<H")
    return damage_bytes(data, rng, other)
