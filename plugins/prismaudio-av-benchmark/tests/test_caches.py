"""``prismaudio av-benchmark`` writes caches that ``prismaudio evaluate caches`` and av-benchmark read."""

import json

import pytest
import torch

from prismaudio.cli.main import main
from prismaudio.evaluation.av_benchmark import read_cache
from prismaudio.media import read_audio_track, write_video
from prismaudio_av_benchmark import caches
from prismaudio_av_benchmark.front_ends import mono_at

FILES = (
    "pann_features.pth",
    "vggish_features.pth",
    "passt_features_embed.pth",
    "passt_logits.pth",
    "imagebind_audio.pth",
)


@pytest.fixture
def networks(monkeypatch, panns, vggish, passt, imagebind):
    """Small networks in place of the published ones."""
    found = {"panns": panns, "vggish": vggish, "passt": passt, "imagebind": imagebind}
    for name, network in found.items():
        monkeypatch.setitem(caches.LOADERS, name, lambda _, network=network: network)
    return found


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A folder with a video of 4.4 s with audio, whose frames change colour every second."""
    folder = tmp_path_factory.mktemp("videos")
    colours = torch.tensor([[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 30], [30, 200, 200]])
    frames = colours.repeat_interleave(25, 0)[:110].to(torch.uint8)[:, :, None, None].expand(-1, -1, 48, 80)
    audio = 0.1 * torch.randn(2, 70_400, generator=torch.Generator().manual_seed(0))
    write_video(frames, 25.0, folder / "clip0.mp4", audio, 16_000)
    return folder


def run(*words):
    return main(["av-benchmark", *map(str, words)])


def test_caches_give_the_values_of_av_benchmark(networks, folders, capsys):
    reference, made = folders / "gt-cache", folders / "made" / "cache"
    assert run(folders / "true", "-o", reference) == 0
    assert run(folders / "made", "-o", made) == 0
    assert {path.name for path in made.iterdir()} == {*FILES, "prismaudio.json"}
    found = read_cache(made / "pann_features.pth")["clip1"]
    audio = read_audio_track(folders / "made" / "clip1.wav", 16_000)
    expected = networks["panns"].embed(audio, 16_000)
    for layer in ("2048", "logits"):
        torch.testing.assert_close(found[layer], expected[layer][0])
    out = folders / "values.json"
    assert (
        main(["evaluate", "caches", "--reference", str(reference), "--generated", str(made), "--json", str(out)]) == 0
    )
    values = json.loads(out.read_text())["systems"]["made"]["metrics"]
    assert {"FD-VGG", "FD-PANN", "FD-PASST", "KL-PANNS-softmax", "KL-PASST-softmax", "ISC-PANNS-mean"} <= set(values)
    assert values["KL-PANNS-softmax"] > 0
    before = (made / FILES[0]).stat().st_mtime_ns
    capsys.readouterr()
    assert run(folders / "made", "-o", made, "--networks", "panns") == 0
    assert "panns: pann_features.pth: exists, kept" in capsys.readouterr().err
    assert (made / FILES[0]).stat().st_mtime_ns == before
    assert run(folders / "made", "-o", made, "--networks", "panns", "--audio-length", "0.5") == 2
    assert "was made with {'audio_length': 8.0" in capsys.readouterr().err
    assert run(folders / "made", "-o", made, "--networks", "panns", "--audio-length", "0.5", "--force") == 0
    assert (made / FILES[0]).stat().st_mtime_ns > before


def test_audio_is_cut_to_the_length(networks, folders):
    assert run(folders / "true", "-o", folders / "short", "--audio-length", "0.9", "--networks", "panns") == 0
    found = read_cache(folders / "short" / "pann_features.pth")["clip0"]["logits"]
    audio = read_audio_track(folders / "true" / "clip0.wav", 16_000)
    mono = mono_at(audio, 16_000, 16_000)[: int(0.9 * 16_000)]
    with torch.no_grad():
        torch.testing.assert_close(found, networks["panns"](mono[None])[1][0])


def test_frames_of_videos_are_embedded(networks, video, tmp_path, imagebind):
    assert run(video, "--videos", video, "-o", tmp_path / "gt", "--networks", "imagebind", "--audio-length", "4.4") == 0
    assert {path.name for path in (tmp_path / "gt").glob("*.pth")} == {"imagebind_audio.pth", "imagebind_video.pth"}
    found = read_cache(tmp_path / "gt" / "imagebind_video.pth")["clip0"]
    exact = torch.tensor([[200, 30, 30], [30, 30, 200]], dtype=torch.uint8)  # shown before 1 s and before 3 s
    expected = imagebind.embed_frames(exact[:, :, None, None].expand(-1, -1, 48, 80))[0]
    others = imagebind.embed_frames(exact.flip(0)[:, :, None, None].expand(-1, -1, 48, 80))[0]
    assert (found - expected).norm() < 0.3 * (found - others).norm()


def test_what_cannot_be_read_is_left_out_and_listed(networks, folders, capsys):
    (folders / "made" / "broken.wav").write_bytes(b"RIFF nothing")
    assert run(folders / "made", "-o", folders / "some", "--networks", "vggish") == 2
    assert "1 of 3 files are not in vggish_features.pth" in capsys.readouterr().err
    assert set(read_cache(folders / "some" / "vggish_features.pth")) == {"clip0", "clip1"}
    (folders / "made" / "broken.wav").write_bytes((folders / "made" / "clip0.wav").read_bytes())
    assert run(folders / "made", "-o", folders / "some", "--networks", "vggish") == 0
    assert set(read_cache(folders / "some" / "vggish_features.pth")) == {"broken", "clip0", "clip1"}


def test_bad_input_is_one_line(networks, folders, capsys, monkeypatch):
    def said(*words):
        assert run(*words) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prismaudio: error")]
        return line

    assert "is not a folder" in said(folders / "nothing", "-o", folders / "x")
    (folders / "empty").mkdir()
    assert "no video or audio in" in said(folders / "empty", "-o", folders / "x")
    assert "no videos in" in said(folders / "true", "--videos", folders / "true", "-o", folders / "x")
    assert "argument --networks" in said(folders / "true", "-o", folders / "x", "--networks", "pann")
    assert run(folders / "true", "-o", folders / "x", "--networks", "vggish") == 0
    (folders / "true" / "clip1.wav").unlink()
    assert "holds clips that are not given (clip1)" in said(
        folders / "true", "-o", folders / "x", "--networks", "vggish"
    )
    assert run(folders / "true", "-o", folders / "x", "--networks", "vggish", "--force") == 0
    assert set(read_cache(folders / "x" / "vggish_features.pth")) == {"clip0"}
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(folders / "none"))
    from prismaudio_av_benchmark.passt import load_passt

    monkeypatch.setitem(caches.LOADERS, "passt", load_passt)
    assert run(folders / "true", "-o", folders / "y", "--networks", "passt", "panns") == 0
    assert "passt is left out: passt-s-f128" in capsys.readouterr().err
    assert "no network can run (passt): passt-s-f128" in said(
        folders / "true", "-o", folders / "z", "--networks", "passt"
    )
