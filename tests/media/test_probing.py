from __future__ import annotations

import pytest

from prismaudio.errors import MediaError
from prismaudio.media.probing import probe


def test_facts(make_video):
    info = probe(make_video("a.mkv", times_s=[0.0, 0.1, 0.2, 0.7], start_s=0.3, layout="stereo"))
    assert info.n_frames == 4
    assert info.frame_s == pytest.approx(0.1)
    assert info.start_s == pytest.approx(0.3)
    assert info.duration_s == pytest.approx(0.7 + info.last_s)
    assert (info.width, info.height, info.codec, info.has_audio) == (96, 64, "h264", True)


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


@pytest.mark.parametrize(
    "kind",
    [
        {"name": "a.mkv"},
        {"name": "a.webm", "codec": "libvpx", "sound_codec": "libopus"},
        {"name": "a.mp4"},
        {"name": "a.mp4", "container": {"movflags": "dash+delay_moov"}},
        {"name": "a.ts", "sound_codec": "mp2"},
    ],
    ids=lambda kind: "-".join(str(value) for value in kind.values()),
)
def test_later_parts_of_a_recording_are_whole(make_video, kind):
    """Segments and copies that keep the time stamps: some containers count their length from zero, others do not."""
    info = probe(make_video(layout="stereo", start_s=60.0, sound_start_s=60.0, **kind))
    assert (info.start_s, info.duration_s) == (pytest.approx(60.0, abs=1.5), pytest.approx(1.0, abs=0.05))


def test_later_parts_that_are_cut_are_not(make_video):
    path = make_video("a.mkv", codec="mjpeg", pixels="yuvj420p", duration_s=8.0, start_s=60.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="truncated"):
        probe(path)


def test_frames_that_are_days_apart_are_refused(make_video):
    path = make_video("a.mkv", codec="mjpeg", pixels="yuvj420p", times_s=[0.0, 0.1, 0.2, 200_000.0])
    with pytest.raises(MediaError, match=r"shows 4 frames in 55\.6 hours: its time stamps are damaged"):
        probe(path)


def test_a_picture_may_be_shown_for_long(make_video):
    path = make_video("a.mkv", codec="mjpeg", pixels="yuvj420p", times_s=[0.0, 1800.0, 3000.0])
    assert probe(path).duration_s > 3000
