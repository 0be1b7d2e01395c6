"""The smallest pieces of the format: integers, varints, strings and floats (spec, section 1).

varint 300  ->  AC 02
"""

import struct

import numpy as np

from ..errors import CorruptFile


def varint(value: int) -> bytes:
    """An unsigned integer below 2^63, seven bits a byte, least significant first."""
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
    """A cursor over bytes that checks every step: what is not there is refused before it is touched.

    `part` names what is read, for messages.
    """

    def __init__(self, data, part: str):
        self.data = memoryview(data)
        self.part = part
        self.at = 0

    def take(self, nbytes: int) -> memoryview:
        """The next `nbytes` bytes; refuses `truncated`."""
        if nbytes > len(self.data) - self.at:
            left = len(self.data) - self.at
            raise CorruptFile("truncated", f"{self.part}: {nbytes} bytes wanted at offset {self.at}, {left} left")
        self.at += nbytes
        return self.data[self.at - nbytes : self.at]

    def rest(self) -> memoryview:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Four bytes, least significant first."""
        return struct.unpack("<I", self.take(4))[0]

    def float32(self) -> float:
        """An IEEE single, as a double."""
        return struct.unpack("<f", self.take(4))[0]

    def varint(self) -> int:
        """Refuses `varint` for more than nine bytes, or a last byte of zero that adds nothing."""
        value = 0
        for place in range(9):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if byte == 0 and place:
                    break
                return value
        raise CorruptFile("varint", f"{self.part}: a malformed varint before offset {self.at}")

    def string(self) -> str:
        """Refuses `text` for bytes that are not UTF-8."""
        encoded = bytes(self.take(self.varint()))
        try:
            return encoded.decode()
        except UnicodeDecodeError as error:
            raise CorruptFile("text", f"{self.part}: a name before offset {self.at} is not UTF-8") from error

    def bitmap(self, count: int) -> np.ndarray:
        """`count` booleans."""
        return np.unpackbits(np.frombuffer(self.take(-(-count // 8)), np.uint8), bitorder="little", count=count).view(
            bool
        )

    def end(self, reason: str) -> None:
        """Refuse, for `reason`, bytes that are left."""
        if self.at < len(self.data):
            raise CorruptFile(reason, f"{self.part}: {len(self.data) - self.at} bytes are left at offset {self.at}")
