"""Reading and writing video and audio files with PyAV and soundfile."""

from prismaudio.media.files import make_writable, replacing
from prismaudio.media.probing import VideoInfo, probe
from prismaudio.media.reading import read_audio_track, read_clip, read_clips, read_frames_at
from prismaudio.media.results import ResultFiles
from prismaudio.media.writing import VIDEO_SUFFIXES, write_video, write_video_with_audio, write_wav

__all__ = [
    "VIDEO_SUFFIXES",
    "ResultFiles",
    "VideoInfo",
    "make_writable",
    "probe",
    "read_audio_track",
    "read_clip",
    "read_clips",
    "read_frames_at",
    "replacing",
    "write_video",
    "write_video_with_audio",
    "write_wav",
]
