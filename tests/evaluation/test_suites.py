from __future__ import annotations

import pytest

from prismaudio.cli.evaluate import find_suite
from prismaudio.errors import DataError, PrismAudioError
from prismaudio.evaluation.suites import AudioCanvasSuite, FoleyBenchSuite, ManifestSuite, VggSoundSuite


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "vgg/-0jeONf82dE_000021.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0")
    (tmp_path / "clips.csv").write_text(
        "id,video,caption,events,split\na,a.mp4,A bell.,single,test\nb,b.mp4,A bell and a drum.,multi,train\n"
    )
    (tmp_path / "vggsound.csv").write_text(
        '-0jeONf82dE,21,"horse clip-clop, near",test\n-0p7hKXZ1ww,30,dog barking,train\n-3Kv4fdm7Uk,8,"bell",test\n'
    )
    return tmp_path


def test_a_manifest_a_split_of_it_and_a_folder(work):
    assert [clip.id for clip in ManifestSuite("clips.csv").clips(work, ())] == ["a", "b"]
    assert [clip.id for clip in ManifestSuite("clips.csv", split="test").clips(work, ())] == ["a"]
    assert [clip.id for clip in find_suite(".").clips(work, ())] == ["a", "b"]
    with pytest.raises(DataError, match="no clips of the split val"):
        ManifestSuite("clips.csv", split="validation").clips(work, ())
    with pytest.raises(DataError, match="no column 'genre'"):
        ManifestSuite("clips.csv", group="genre").clips(work, ())


def test_audiocanvas_has_single_and_multi_event_clips(work):
    suite = AudioCanvasSuite("clips.csv")
    assert (suite.group, [clip.columns["events"] for clip in suite.clips(work, ())]) == ("events", ["single", "multi"])
    (work / "clips.csv").write_text("video,events\na.mp4,many\n")
    with pytest.raises(DataError, match="clip a has 'many' in the column events; expected single or multi"):
        suite.clips(work, ())


def test_foleybench_has_three_groups(work):
    (work / "foley.csv").write_text(
        "video,sound,sources,category\na.mp4,discrete,single,DOORS\nb.mp4,rest,multi,RAIN\n"
    )
    suite = FoleyBenchSuite("foley.csv")
    assert (len(suite.clips(work, ())), suite.group_columns) == (2, ("sound", "sources", "category"))
    (work / "foley.csv").write_text("video,sound,sources\na.mp4,discrete,single\n")
    with pytest.raises(DataError, match="no column 'category'"):
        suite.clips(work, ())


def test_vggsound_reads_its_own_list_and_names_what_is_missing(work):
    with pytest.raises(DataError, match=r"1 of 2 videos of VGGSound are not in vgg: -3Kv4fdm7Uk_000008;.*robots\.ox"):
        VggSoundSuite("vgg", "vggsound.csv").clips(work, ())
    (clip,) = VggSoundSuite("vgg", "vggsound.csv", allow_missing=True).clips(work, ())
    assert (clip.id, clip.captions) == ("-0jeONf82dE_000021", ("horse clip-clop, near",))
    (work / "vggsound.csv").write_text("id,start,label,split\n")
    with pytest.raises(DataError, match="is not of VGGSound; expected lines such as"):
        VggSoundSuite("vgg", "vggsound.csv").clips(work, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vgsound", "did you mean 'vggsound'"),
        ('{"class_path": "vggsound", "init_args": {"video": "x"}}', "video"),
        ('{"class_path": "clips.csv", "init_args": {"split": "dev"}}', "expected train, val"),
    ],
)
def test_suites_that_cannot_be_made(work, text, words):
    with pytest.raises(PrismAudioError, match=words):
        find_suite(text)
