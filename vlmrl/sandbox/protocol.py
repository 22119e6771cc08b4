"""What the trainer and a worker say to each other: one JSON line and some bytes, behind their two lengths."""

import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct("!II")


class Closed(ConnectionError):
    """The other side has ended."""


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """One message."""
    line = json.dumps(header).encode()
    return _LENGTHS.pack(len(line), len(body)) + line + body


def receive(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Wait for one message.

    Raises:
        Closed: if the other side has ended.
        TimeoutError: if the channel has a timeout and nothing came for so long.
    """
    header, body = _LENGTHS.unpack(_exactly(channel, _LENGTHS.size))
    return json.loads(_exactly(channel, header)), _exactly(channel, body)


def _exactly(channel: socket.socket, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        try:
            received = channel.recv_into(view)
        except ConnectionResetError as reset:
            raise Closed("the other side has ended") from reset
        if not received:
            raise Closed("the other side has ended")
        view = view[received:]
    return bytes(buffer)
