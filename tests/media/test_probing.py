from __future__ import annotations

from types import SimpleNamespace

import pytest

from prismaudio.errors import MediaError
from prismaudio.media.probing import opened, probe, video_stream


class Streams:
    """Picture tracks of a file that nobody can write."""

    def __init__(self, *streams: SimpleNamespace) -> None:
        self.video = streams

    def best(self, kind: str) -> SimpleNamespace | None:
        return self.video[0] if self.video else None


def track(width: int = 0, disposition: str = "DEFAULT", *, decodable: bool = True) -> SimpleNamespace:
    context = SimpleNamespace(width=width, height=width) if decodable else None
    return SimpleNamespace(disposition=disposition, codec_context=context, thread_type="NONE")


@pytest.mark.parametrize(
    ("tracks", "words"),
    [
        ((), "no picture track"),
        ((track(100, "ATTACHED_PIC"),), "no picture track"),
        ((track(0),), "0x0 pixels"),
        ((track(decodable=False),), "cannot decode"),
    ],
)
def test_tracks_without_a_picture_that_can_be_seen(tracks, words):
    with pytest.raises(MediaError, match=words):
        video_stream(SimpleNamespace(streams=Streams(*tracks)), "clip.mp4")


@pytest.mark.parametrize(("name", "expected"), [("a.wav", "sound"), ("a.mp3", "sound"), ("a.mp4", "video")])
def test_what_was_expected_is_of_the_kind_that_the_name_says(name, expected, tmp_path):
    for content in (b"", b"noise" * 1000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=f"a (whole )?{expected} file"), opened(tmp_path / name):
            pass


def test_a_cover_is_not_the_picture():
    cover, picture = track(500, "ATTACHED_PIC"), track(100)
    assert video_stream(SimpleNamespace(streams=Streams(cover, picture)), "clip.mp4") is picture


def test_facts(make_video):
    info = probe(make_video("a.mkv", times_s=[0.0, 0.1, 0.2, 0.7], start_s=0.3, layout="stereo"))
    assert info.n_frames == 4
    assert info.frame_s == pytest.approx(0.1)
    assert info.start_s == pytest.approx(0.3)
    assert info.duration_s == pytest.approx(0.7 + info.last_s)
    assert (info.width, info.height, info.codec, info.has_sound) == (96, 64, "h264", True)


def test_files_without_time_stamps(make_video, tmp_path):
    import av

    path = tmp_path / "raw.h264"
    with av.open(make_video()) as source, av.open(path, "w", format="h264") as raw:
        stream = raw.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                raw.mux(packet)
    assert probe(path).duration_s == pytest.approx(1.0, abs=0.05)
