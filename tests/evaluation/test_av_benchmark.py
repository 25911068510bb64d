"""Caches of av-benchmark: values by independent formulas and golden numbers, and a reason for every gap."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from prismaudio.errors import DataError, DuplicateNameError, MediaError
from prismaudio.evaluation.av_benchmark import (
    IB_AUDIO,
    IB_VIDEO,
    KAD_KEYS,
    KEYS,
    LAION_AUDIO,
    LAION_TEXT,
    MS_AUDIO,
    MS_TEXT,
    PANN,
    PASST,
    PASST_LOGITS,
    SYNC_AUDIO,
    SYNC_VIDEO,
    VGGISH,
    read_cache,
    score_caches,
    write_cache,
)
from prismaudio.evaluation.intervals import difference_interval, mean_interval

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "metrics.npz"
NAMES = [f"clip{i}" for i in range(24)]


def features(names, seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator) for name in names}


def panns(names, seed):
    deep, logits = features(names, seed, 6), features(names, seed + 1, 5)
    return {name: {"2048": deep[name], "logits": logits[name]} for name in names}


def write_reference(folder, names=NAMES):
    frames = features(names, 3, 16, 8, 4)
    contents = {PANN: panns(names, 0), VGGISH: features(names, 1, 3, 4), PASST: features(names, 2, 6)}
    contents |= {PASST_LOGITS: features(names, 4, 7), IB_VIDEO: features(names, 5, 8), SYNC_VIDEO: frames}
    contents |= {LAION_TEXT: features(names, 6, 8), MS_TEXT: features(names, 7, 9)}
    return write(folder, contents)


def write_generated(folder, names=NAMES, seed=100):
    contents = {PANN: panns(names, seed), VGGISH: features(names, seed + 1, 4, 4), PASST: features(names, seed + 2, 6)}
    contents |= {PASST_LOGITS: features(names, seed + 3, 7), IB_AUDIO: features(names, seed + 4, 8)}
    contents |= {SYNC_AUDIO: features(names, seed + 5, 17, 6, 4), LAION_AUDIO: features(names, seed + 6, 8)}
    return write(folder, contents | {MS_AUDIO: features(names, seed + 7, 9)})


def write(folder, contents):
    for name, cache in contents.items():
        write_cache(folder / name, cache)
    return folder


def offsets(frames, audio):
    """A head: what it says depends on every segment of both."""
    assert frames.shape[1:] == (14, 8, 4)
    assert audio.shape[1:] == (14, 6, 4)
    return (frames.mean((2, 3)) * torch.arange(14)).sum(1).abs() + audio.mean((1, 2, 3)).abs()


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_reference(tmp_path_factory.mktemp("truth") / "gt")


@pytest.fixture
def generated(tmp_path):
    return write_generated(tmp_path / "system", NAMES[::-1])


def scored(truth, generated, **options):
    (scores,) = score_caches(truth, generated, offsets=offsets, **options).values()
    assert set(scores.values).isdisjoint(scores.reasons)
    assert {*scores.values, *scores.reasons} == {*KEYS, *(KAD_KEYS if options.get("kernel") else ())}
    return scores


# Independent formulas ------------------------------------------------------------------------------------------------
def stacked(folder, file, names, layer=None):
    cache = torch.load(folder / file, weights_only=True)
    parts = [cache[name] if layer is None else cache[name][layer] for name in names]
    return np.concatenate([part.double().numpy().reshape(-1, part.shape[-1]) for part in parts])


def frechet(a, b):
    covariances = [np.cov(side, rowvar=False) for side in (a, b)]
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1])
    common = np.sqrt(np.maximum(eigenvalues.real, 0)).sum()
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * common


def probabilities(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def kl(true, generated):
    p, q = probabilities(true), probabilities(generated)
    return (p * np.log(p / q)).sum(1)


def inception(logits):
    p = probabilities(logits)[np.random.RandomState(2020).permutation(len(logits))]
    scores = []
    for i in range(10):
        part = p[i * len(p) // 10 : (i + 1) * len(p) // 10]
        scores.append(np.exp((part * np.log(part / part.mean(0))).sum(1).mean()))
    return np.mean(scores), np.std(scores)


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def expected_values(truth, generated, names):
    """Values of caches with the same names; ``names`` in the order of the generated ones."""

    def pair(true_file, file=None, layer=None):
        return stacked(truth, true_file, names, layer), stacked(generated, file or true_file, names, layer)

    frames, audio = (torch.load(folder / file) for folder, file in ((truth, SYNC_VIDEO), (generated, SYNC_AUDIO)))
    windows = [
        float(offsets(frames[name][None, w], audio[name][None, w]))
        for name in names
        for w in (slice(14), slice(-14, None))
    ]
    isc = [inception(pair(PANN, layer="logits")[1]), inception(pair(PASST_LOGITS)[1])]
    return {
        "FD-VGG": frechet(*pair(VGGISH)),
        "FD-PANN": frechet(*pair(PANN, layer="2048")),
        "FD-PASST": frechet(*pair(PASST)),
        "KL-PANNS-softmax": kl(*pair(PANN, layer="logits")).mean(),
        "KL-PASST-softmax": kl(*pair(PASST_LOGITS)).mean(),
        "ISC-PANNS-mean": isc[0][0],
        "ISC-PANNS-std": isc[0][1],
        "ISC-PASST-mean": isc[1][0],
        "ISC-PASST-std": isc[1][1],
        "IB-Score": cosine(*pair(IB_VIDEO, IB_AUDIO)).mean(),
        "DeSync": np.mean(windows),
        "LAION-CLAP-Score": cosine(*pair(LAION_TEXT, LAION_AUDIO)).mean(),
        "MS-CLAP-Score": cosine(*pair(MS_TEXT, MS_AUDIO)).mean(),
    }


def test_every_value_is_that_of_its_formula(truth, generated) -> None:
    scores = scored(truth, generated)
    expected = expected_values(truth, generated, NAMES[::-1])
    assert list(scores.values) == list(expected) == list(KEYS)
    assert scores.values == pytest.approx(expected, rel=1e-6)
    assert len({round(value, 6) for value in scores.values.values()}) == len(KEYS)
    assert set(scores.clips.values()) == {24}
    json.dumps(scores.values, allow_nan=False)


def test_means_have_values_by_clip(truth, generated) -> None:
    scores = scored(truth, generated)
    assert [*scores.per_clip] == [
        "KL-PANNS-softmax", "KL-PASST-softmax", "IB-Score", "DeSync", "LAION-CLAP-Score", "MS-CLAP-Score",
    ]  # fmt: skip
    for key, values in scores.per_clip.items():
        assert list(values) == NAMES[::-1]
        assert mean_interval(values.values()).mean == pytest.approx(scores.values[key])
    expected = kl(stacked(truth, PASST_LOGITS, ["clip3"]), stacked(generated, PASST_LOGITS, ["clip3"]))
    assert scores.per_clip["KL-PASST-softmax"]["clip3"] == pytest.approx(float(expected[0]), rel=1e-6)


def test_golden_numbers(tmp_path) -> None:
    golden = {
        name: torch.as_tensor(value) for name, value in np.load(GOLDEN).items() if name.startswith(("in/", "out/"))
    }

    def rows(name):
        return {f"clip{i}": row for i, row in enumerate(golden[f"in/{name}"])}

    def layers(deep, logits):
        last = list(logits.values())[-1]
        return {name: {"2048": row, "logits": logits.get(name, last)} for name, row in deep.items()}

    reference = {PANN: layers(rows("fd_gt"), rows("logits_gt")), PASST: rows("fd_singular_gt")}
    reference |= {VGGISH: rows("fd_singular_gt"), PASST_LOGITS: rows("logits_gt"), IB_VIDEO: rows("ib_video")}
    generated = {PANN: layers(rows("fd_pred"), rows("logits_pred")), VGGISH: rows("fd_singular_pred")}
    generated |= {PASST_LOGITS: rows("logits_pred"), IB_AUDIO: rows("ib_audio")}
    found = scored(write(tmp_path / "gt", reference), write(tmp_path / "generated", generated)).values
    assert found["FD-PANN"] == pytest.approx(float(golden["out/fd"]), rel=1e-6)
    assert found["FD-VGG"] == pytest.approx(float(golden["out/fd_singular"]), rel=1e-3)
    assert found["KL-PASST-softmax"] == pytest.approx(float(golden["out/kl_softmax"]), abs=1e-5)
    assert found["ISC-PASST-mean"] == pytest.approx(float(golden["out/is_mean"]), abs=1e-6)
    assert found["ISC-PASST-std"] == pytest.approx(float(golden["out/is_std"]), abs=1e-6)
    assert found["IB-Score"] == pytest.approx(float(golden["out/ib_score"]), abs=1e-6)


def test_clips_of_one_side_count_where_they_count_in_av_benchmark(truth, tmp_path) -> None:
    names = [*NAMES[4:], "other", "another"]
    generated = write_generated(tmp_path / "system", names)
    scores = scored(truth, generated)
    shared = expected_values(truth, generated, NAMES[4:])
    everything = {
        "FD-VGG": frechet(stacked(truth, VGGISH, NAMES), stacked(generated, VGGISH, names)),
        "FD-PANN": frechet(stacked(truth, PANN, NAMES, "2048"), stacked(generated, PANN, names, "2048")),
    }
    mean, deviation = inception(stacked(generated, PANN, names, "logits"))
    everything |= {"ISC-PANNS-mean": mean, "ISC-PANNS-std": deviation}
    assert scores.values == pytest.approx(shared | everything, rel=1e-6)
    assert {key: scores.clips[key] for key in ("FD-PANN", "FD-PASST")} == {"FD-PANN": 22, "FD-PASST": 20}
    assert scores.warnings["FD-PASST"].startswith(
        "4 clips have only a reference (clip0, clip1, clip2 and 1 more) and 2 clips have no reference (other, another)"
        "; they do not count"
    )
    assert "are compared as sets with the others" in scores.warnings["FD-VGG"]


def test_unpaired(truth, tmp_path) -> None:
    names = ["x", "y", *NAMES[:10]]
    generated = write_generated(tmp_path / "system", names)
    scores = scored(truth, generated, paired=False)
    assert scores.values["FD-PASST"] == pytest.approx(
        frechet(stacked(truth, PASST, NAMES), stacked(generated, PASST, names))
    )
    found = scores.values["ISC-PASST-mean"], scores.values["ISC-PASST-std"]
    assert found == pytest.approx(inception(stacked(generated, PASST_LOGITS, names)))
    assert list(scores.reasons) == [key for key in KEYS if key[:2] not in ("FD", "IS")]
    assert "not paired" in scores.reasons["DeSync"]
    (truth_only,) = score_caches(
        write(tmp_path / "small", {VGGISH: features("ab", 0, 3, 4)}), generated, paired=False
    ).values()
    assert {"FD-VGG", "ISC-PANNS-mean", "ISC-PASST-std"} <= set(truth_only.values)


def test_kernel_distances_are_asked_for(truth, generated) -> None:
    assert not set(scored(truth, generated).values) & set(KAD_KEYS)
    scores = scored(truth, generated, kernel=True)
    assert list(scores.values) == [*KEYS, *KAD_KEYS]
    same = scored(truth, write(generated, {PASST: read_cache(truth / PASST)}), kernel=True)
    assert same.values["KAD-PASST"] < min(0, scores.values["KAD-PASST"])  # no clip has itself as a pair on its own side
    assert same.values["FD-PASST"] == pytest.approx(0, abs=1e-9)


# Gaps ----------------------------------------------------------------------------------------------------------------
def test_missing_files_are_named_for_their_values_alone(truth, generated) -> None:
    whole = scored(truth, generated).values
    (generated / PANN).unlink()
    (generated / MS_AUDIO).unlink()
    scores = scored(truth, generated)
    lost = {"FD-PANN", "KL-PANNS-softmax", "ISC-PANNS-mean", "ISC-PANNS-std", "MS-CLAP-Score"}
    assert set(scores.reasons) == lost
    assert scores.reasons["FD-PANN"] == f"no such file: {generated / PANN}"
    assert scores.values == {key: value for key, value in whole.items() if key not in lost}


def test_another_clip_set_is_named(truth, tmp_path) -> None:
    scores = scored(truth, write_generated(tmp_path / "system", [f"_{name}" for name in NAMES]))
    assert list(scores.values) == ["ISC-PANNS-mean", "ISC-PANNS-std"]
    assert "no clip in common, such as 'clip0' and '_clip0'" in scores.reasons["FD-VGG"]


def test_features_that_are_not_finite_are_named(truth, generated) -> None:
    cache = read_cache(generated / PASST_LOGITS)
    cache = {name: rows.clone() for name, rows in cache.items()}
    cache["clip7"][2] = float("nan")
    cache["clip9"][0] = float("inf")
    write_cache(generated / PASST_LOGITS, cache)
    scores = scored(truth, generated)
    assert set(scores.reasons) == {"KL-PASST-softmax", "ISC-PASST-mean", "ISC-PASST-std"}
    assert "NaN or infinity in the features of 2 of 24 clips (clip9, clip7)" in scores.reasons["ISC-PASST-std"]


def test_few_clips(truth, tmp_path) -> None:
    scores = scored(truth, write_generated(tmp_path / "one", ["clip3"]))
    assert "expected two or more" in scores.reasons["FD-PASST"]
    assert scores.values["KL-PASST-softmax"] > 0
    few = scored(truth, write_generated(tmp_path / "few", NAMES[:5]))
    assert "too few for their covariance" in few.warnings["FD-PANN"]
    assert "fewer rows than the 5 classes" in few.warnings["ISC-PANNS-mean"]


def test_offsets_need_segments_and_a_head(truth, generated, monkeypatch) -> None:
    audio = features(NAMES, 0, 17, 6, 4) | {"clip5": torch.ones(13, 6, 4)}
    write_cache(generated / SYNC_AUDIO, audio)
    assert "1 of 24 clips (clip5) have fewer than the 14 segments" in scored(truth, generated).reasons["DeSync"]
    write_cache(generated / SYNC_AUDIO, features(NAMES, 0, 17, 6, 4))
    monkeypatch.setenv("PRISMAUDIO_DISABLE_PLUGINS", "synchformer")
    (scores,) = score_caches(truth, generated).values()
    assert list(scores.reasons) == ["DeSync"]
    assert "prismaudio-synchformer" in scores.reasons["DeSync"]
    (scores,) = score_caches(truth, generated, offsets=lambda frames, audio: 1 / 0).values()
    assert scores.reasons == {"DeSync": "ZeroDivisionError: division by zero"}


def test_other_dimensions_are_named(truth, generated) -> None:
    write_cache(generated / VGGISH, features(NAMES, 0, 3, 7))
    write_cache(generated / LAION_AUDIO, features(NAMES[:12], 0, 8) | features(NAMES[12:], 0, 9))
    reasons = scored(truth, generated).reasons
    assert "have features of 4 and 7 dimensions" in reasons["FD-VGG"]
    assert "has features of 8, 9 dimensions" in reasons["LAION-CLAP-Score"]


class Harmful:
    def __reduce__(self):
        return (os.putenv, ("PRISMAUDIO_HARMED", "1"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello world", "is not a torch.save file"),
        (b"PK\x03\x04 truncated", "is truncated"),
        ({"a": Harmful()}, "contains pickled code"),
        ([1, 2], "contains no dictionary of names"),
        ({}, "has no clips"),
        ({1: torch.ones(3)}, "contains no dictionary of names"),
        ({"a": 3.0}, "'a' is a float; expected tensors by clip"),
        ({"a": {"2048": torch.ones(3)}}, "'a' is a dict; expected tensors by clip"),
        ({"a": torch.ones(3, dtype=torch.int64)}, "torch.int64"),
        ({"a": torch.ones(3).to_sparse()}, "torch.sparse_coo; expected dense"),
        ({"a": torch.ones(2, 3)}, r"has the shape \(2, 3\); expected \(dim,\)"),
        ({"a": torch.ones(0)}, r"has the shape \(0,\)"),
        ({"a": torch.ones(1).expand(1, 5000)}, "declares 20,000 bytes of weights, but stores 4"),
    ],
)
def test_what_is_no_cache_is_one_line(truth, generated, content, reason) -> None:
    if isinstance(content, bytes):
        (generated / PASST).write_bytes(content)
    else:
        torch.save(content, generated / PASST)
    with pytest.raises(DataError, match=reason) as raised:
        read_cache(generated / PASST)
    assert "\n" not in str(raised.value)
    assert list(scored(truth, generated).reasons) == ["FD-PASST"]


def test_layers_that_are_missing_are_named(truth, generated) -> None:
    torch.save({"a": {"2048": torch.ones(3)}}, generated / PANN)
    with pytest.raises(DataError, match="'a' has no layer logits; expected tensors by layer"):
        read_cache(generated / PANN)
    torch.save({"a": torch.ones(3)}, generated / PANN)
    with pytest.raises(DataError, match="'a' is a Tensor; expected tensors by layer"):
        read_cache(generated / PANN)
    (generated / VGGISH).unlink()
    os.mkfifo(generated / VGGISH)
    assert "not a regular file" in scored(truth, generated).reasons["FD-VGG"]


def test_folders(truth, generated, tmp_path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        score_caches(truth, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no caches of av-benchmark; expected some of pann_features"):
        score_caches(tmp_path / "empty", generated)
    with pytest.raises(DataError, match="no folders of generated caches"):
        score_caches(truth, [])
    with pytest.raises(DuplicateNameError, match="are named system"):
        score_caches(truth, [generated, generated])


def test_several_systems_are_compared(truth, generated, tmp_path) -> None:
    other = write_generated(tmp_path / "b" / "cache", NAMES, seed=500)
    scores = score_caches(truth, [generated, other], offsets=offsets)
    assert list(scores) == ["system", "b"]
    assert scores["b"].values == scored(truth, other).values
    named = score_caches(truth, {"x": generated, "y": generated}, offsets=offsets)
    assert named["x"] == named["y"] == scores["system"]
    found = difference_interval(scores["system"].per_clip["IB-Score"], scores["b"].per_clip["IB-Score"])
    assert found.mean == pytest.approx(scores["system"].values["IB-Score"] - scores["b"].values["IB-Score"])
    assert found.clips == 24


# Writing -------------------------------------------------------------------------------------------------------------
def test_what_is_written_is_what_av_benchmark_reads(tmp_path) -> None:
    batch = torch.randn(100, 1000, requires_grad=True)
    write_cache(tmp_path / "new" / PASST, {"a": batch[3], "b": batch[7]})
    found = torch.load(tmp_path / "new" / PASST, weights_only=True)
    assert list(found) == ["a", "b"]
    assert torch.equal(found["a"], batch[3])
    assert not found["a"].requires_grad
    assert (tmp_path / "new" / PASST).stat().st_size < 20_000  # the rows alone, not the batch
    write_cache(tmp_path / "new" / PANN, ((name, value) for name, value in panns("ab", 0).items()))
    assert list(torch.load(tmp_path / "new" / PANN, weights_only=True)["b"]) == ["2048", "logits"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [PANN, PASST]


def test_what_is_not_written_changes_nothing(tmp_path) -> None:
    write_cache(tmp_path / PASST, {"a": torch.ones(3)})
    with pytest.raises(DuplicateNameError, match="two clips are named 'a'"):
        write_cache(tmp_path / PASST, [("a", torch.ones(3)), ("a", torch.zeros(3))])
    with pytest.raises(DataError, match="has the shape"):
        write_cache(tmp_path / PASST, {"a": torch.ones(3, 3)})
    assert read_cache(tmp_path / PASST)["a"].tolist() == [1, 1, 1]
    (tmp_path / "file").touch()
    with pytest.raises(MediaError):
        write_cache(tmp_path / "file" / PASST, {"a": torch.ones(3)})


def test_old_format_and_half_precision(truth, generated) -> None:
    cache = {name: rows.half() for name, rows in read_cache(generated / PASST).items()}
    torch.save(cache, generated / PASST, _use_new_zipfile_serialization=False)
    expected = frechet(stacked(truth, PASST, NAMES), stacked(generated, PASST, NAMES))
    assert scored(truth, generated).values["FD-PASST"] == pytest.approx(expected, rel=1e-6)
