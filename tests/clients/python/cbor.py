"""CBOR (RFC 8949) as AWS's Java clients speak it, written from the standard and not from the server.

Encodes maps and lists of indefinite length, as those clients do.
"""

import struct


class Millis(int):
    """A time: tag 1 and a whole number of milliseconds."""


def _head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | code]) + value.to_bytes(size, "big")
    raise ValueError(value)


def encode(value):
    if value is None:
        return b"\xf6"
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, Millis):
        return _head(6, 1) + _head(0, int(value))
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return b"\x9f" + b"".join(map(encode, value)) + b"\xff"
    if isinstance(value, dict):
        pairs = (encode(name) + encode(member) for name, member in value.items())
        return b"\xbf" + b"".join(pairs) + b"\xff"
    raise TypeError(type(value))


_BREAK = object()


def decode(data):
    value, at = _item(data, 0)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes behind the value")
    return value


def _item(data, at):
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if (major, info) == (7, 31):
        return _BREAK, at
    length = None
    if info < 24:
        length = info
    elif info < 28:
        size = 1 << (info - 24)
        raw, at = data[at : at + size], at + size
        if major == 7 and size > 1:
            return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], raw)[0], at
        length = int.from_bytes(raw, "big")
    elif info != 31:
        raise ValueError(f"additional information {info}")
    if major in (0, 1):
        return (length if major == 0 else -1 - length), at
    if major in (2, 3):
        if length is None:
            pieces = []
            while (piece := _item(data, at))[0] is not _BREAK:
                pieces.append(piece[0])
                at = piece[1]
            return type(pieces[0])().join(pieces) if pieces else "", piece[1]
        raw, at = data[at : at + length], at + length
        if len(raw) != length:
            raise ValueError("cut off")
        return (raw if major == 2 else raw.decode()), at
    if major in (4, 5):
        items, wanted = [], None if length is None else length * (major - 3)
        while wanted is None or len(items) < wanted:
            value, at = _item(data, at)
            if value is _BREAK:
                break
            items.append(value)
        if major == 4:
            return items, at
        return dict(zip(items[::2], items[1::2])), at
    if major == 6:
        value, at = _item(data, at)
        if length != 1 or isinstance(value, float):
            raise ValueError(f"tag {length} on {value!r}: SDKs want tag 1 and a whole number")
        return Millis(value), at
    return {20: False, 21: True, 22: None}[length], at
