"""What is read of files that somebody else made."""

from __future__ import annotations

import json
import os

import pytest

from prismaudio.errors import DataError
from prismaudio.untrusted import MAX_DEPTH, json_text, load_json, parse_json, read_small


def test_small_files_are_read_to_a_limit_and_devices_not_at_all(tmp_path):
    (tmp_path / "large").write_bytes(b"0" * 11)
    os.mkfifo(tmp_path / "pipe")
    assert read_small(tmp_path / "large", 11) == b"0" * 11
    with pytest.raises(OSError, match="larger than"):
        read_small(tmp_path / "large", 10)
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_small(path)


def test_names_of_any_bytes_go_through_json():
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x94\x94")
    assert os.fsencode(load_json(json_text({"name": name}))["name"]) == b"caf\xe9 \xf0\x9f\x94\x94"


@pytest.mark.parametrize("n_levels", [MAX_DEPTH + 1, 100_000])
def test_what_is_nested_too_deeply_is_no_value(n_levels):
    text = "[" * n_levels + "]" * n_levels
    with pytest.raises(ValueError, match="nested too deeply"):
        load_json(text)
    with pytest.raises(DataError, match=r"^here: JSON that is nested too deeply; expected at most 64 levels"):
        parse_json(text, "here")


def test_what_is_nested_as_deeply_as_allowed_is_read():
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(load_json(text)) == json.dumps(parse_json(text, "here")) == text
