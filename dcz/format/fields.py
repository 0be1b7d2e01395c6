"""The elementary fields of the format: integers, varints, strings, floats, bitmaps (spec, section 1).

varint 300  ->  AC 02
"""

import struct
from collections.abc import Callable

import numpy as np

from ..errors import CorruptFile

_WINDOW = 1 << 12  # bytes that are read together


def varint(value: int) -> bytes:
    """An unsigned integer below 2^63, seven bits a byte, least significant first (LEB128)."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def u8(value: int) -> bytes:
    """One byte."""
    return struct.pack("<B", value)


def u32(value: int) -> bytes:
    """Four bytes, least significant first."""
    return struct.pack("<I", value)


def string(text: str) -> bytes:
    """A varint length and UTF-8. Lone surrogates, which ONNX names cannot hold, raise UnicodeEncodeError."""
    encoded = text.encode()
    return varint(len(encoded)) + encoded


def float32(value: float) -> bytes:
    """An IEEE single."""
    return struct.pack("<f", value)


def bitmap(flags: np.ndarray) -> bytes:
    """Booleans, eight a byte, the first one lowest."""
    return np.packbits(flags, bitorder="little").tobytes()


class Reader:
    """A cursor over bytes that checks the length before each read. `part` names the bytes in messages.

    Its methods raise CorruptFile: all of them `truncated`, others as they say.
    """

    def __init__(self, data: bytes | memoryview, part: str):
        self.data = memoryview(data)
        self.length = len(self.data)
        self.part = part
        self.offset = 0

    def take(self, nbytes: int) -> memoryview:
        """The next `nbytes` bytes, not copied."""
        self._pass(nbytes)
        return self._between(self.offset - nbytes, self.offset)

    def content(self, nbytes: int | None = None) -> memoryview:
        """The next `nbytes` bytes (None: all that are left), not copied, which tell nothing of what follows them."""
        return self.take(self.length - self.offset if nbytes is None else nbytes)

    def _pass(self, nbytes: int) -> None:
        if nbytes > self.length - self.offset:
            left = self.length - self.offset
            raise CorruptFile("truncated", f"{self.part}: {nbytes} bytes wanted at offset {self.offset}, {left} left")
        self.offset += nbytes

    def _between(self, start: int, stop: int) -> memoryview:
        return self.data[start:stop]

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Four bytes, least significant first."""
        value: int = struct.unpack("<I", self.take(4))[0]
        return value

    def float32(self) -> float:
        """An IEEE single, as a double."""
        value: float = struct.unpack("<f", self.take(4))[0]
        return value

    def varint(self) -> int:
        """An unsigned integer; refuses `varint` for more than nine bytes, or a last byte of zero after others."""
        value = 0
        for position in range(9):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                if byte == 0 and position:
                    break
                return value
        raise CorruptFile("varint", f"{self.part}: a malformed varint before offset {self.offset}")

    def varints(self, count: int) -> tuple[int, ...]:
        """`count` of them; refuses as `varint`."""
        whole = bytes(self._between(self.offset, min(self.offset + count, self.length)))
        if len(whole) == count and whole.isascii():  # each has one byte, as most dims do
            self.offset += count
            return tuple(whole)
        return tuple(self.varint() for _ in range(count))

    def string(self) -> str:
        """A string; refuses `text` for bytes that are not UTF-8."""
        encoded = bytes(self.take(self.varint()))
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            raise CorruptFile("text", f"{self.part}: a name before offset {self.offset} is not UTF-8") from error

    def bitmap(self, count: int) -> np.ndarray:
        """`count` booleans (bool)."""
        packed = np.frombuffer(self.take(-(-count // 8)), np.uint8)
        return np.unpackbits(packed, bitorder="little", count=count).view(bool)

    def end(self, reason: str) -> None:
        """Raise CorruptFile `reason` if bytes are left."""
        if self.offset < self.length:
            left = self.length - self.offset
            raise CorruptFile(reason, f"{self.part}: {left} bytes are left at offset {self.offset}")


class HeadReader(Reader):
    """A cursor over `length` bytes, of which `read(start, nbytes)` gives some: what is `content` is not read, but has
    as many zeros in its place."""

    def __init__(self, read: Callable[[int, int], bytes], length: int, part: str):
        super().__init__(b"", part)
        self.length = length
        self._read, self._start = read, 0

    def content(self, nbytes: int | None = None) -> memoryview:
        """Zeros in the place of the next `nbytes` bytes (None: of all that are left), which take no memory."""
        nbytes = self.length - self.offset if nbytes is None else nbytes
        self._pass(nbytes)
        return np.broadcast_to(np.zeros(1, np.uint8), nbytes).data

    def _between(self, start: int, stop: int) -> memoryview:
        if not self._start <= start <= stop <= self._start + len(self.data):
            self.data = memoryview(self._read(start, min(max(stop - start, _WINDOW), self.length - start)))
            self._start = start
        return self.data[start - self._start : stop - self._start]
