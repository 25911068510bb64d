"""Decoding of one stream of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av

from prismaudio.media.clock import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream


def decoded(container: InputContainer, stream: Stream) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decode a stream frame by frame; damaged packets are skipped."""
    last: Packet[Stream] | None = None
    for packet in packets(container, stream):
        if packet.size:
            yield from _decoded_packet(packet)
        else:
            last = packet  # an empty packet flushes the decoder, and some files have one before their end
    if last is not None:
        yield from _decoded_packet(last)


def _decoded_packet(packet: Packet[Stream]) -> Iterator[av.VideoFrame | av.AudioFrame]:
    try:
        yield from packet.decode()  # type: ignore[misc]
    except av.error.InvalidDataError:
        return
