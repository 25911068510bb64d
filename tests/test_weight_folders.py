"""Folders in the layout of transformers, on this machine and on a hub of one process."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub import constants

from prismaudio.errors import CheckpointError
from prismaudio.weight_files import save_tensors
from prismaudio.weight_folders import CONFIG, INDEX, WEIGHTS, PublishedFolder, read_json, read_tensors

FOLDER = PublishedFolder("them/net-large", 12, "CC-0", ("tokenizer.json",), "us/bundle")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISMAUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def write(folder, *, shards=False, without=()):
    folder.mkdir(parents=True)
    files = {"a.safetensors": {"encoder.w": torch.ones(2).bfloat16()}, "b.safetensors": {"decoder.w": torch.ones(3)}}
    if shards:
        for name, tensors in files.items():
            save_tensors(tensors, folder / name)
        placed = {key: name for name, tensors in files.items() for key in tensors}
        (folder / INDEX).write_text(json.dumps({"weight_map": placed}))
    else:
        save_tensors({key: value for tensors in files.values() for key, value in tensors.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text('{"model_type": "net"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    for name in without:
        (folder / name).unlink()
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of the repositories below a folder, and what was asked of it; one named gated is gated."""
    root, asked = tmp_path / "served", []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            repository, _, rest = self.path[1:].partition("/resolve/")
            revision, _, name = rest.partition("/")
            if name:  # the client asks for more than files
                asked.append((self.command, repository, revision, name))
            error = None
            if not (root / repository).is_dir():
                error = 401, "RepoNotFound"
            elif "gated" in repository or "net-large" in repository:
                error = 403, "GatedRepo"
            elif revision not in ("main", "refs%2Fpr%2F2", COMMIT):
                error = 404, "RevisionNotFound"
            elif not (root / repository / name).is_file():
                error = 404, "EntryNotFound"
            data = b"" if error else (root / repository / name).read_bytes()
            self.send_response(error[0] if error else 200)
            self.send_header("Content-Length", str(len(data)))
            if error:
                self.send_header("X-Error-Code", error[1])
            else:
                self.send_header("ETag", f'"{hash((name, data)):x}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    yield root, asked, server
    server.shutdown()
    server.server_close()


def test_a_folder_here_is_found_by_itself_by_the_one_above_and_in_the_cache(tmp_path):
    folder = write(tmp_path / "net-large")
    assert FOLDER.find(folder) == folder
    assert FOLDER.find(str(tmp_path)) == folder
    folder.rename(write(tmp_path / "cache/weights/other").with_name("net-large"))
    assert FOLDER.find() == tmp_path / "cache/weights/net-large"


def test_what_is_not_such_a_folder_is_refused(tmp_path):
    for given, message in (
        (write(tmp_path / "bare", without=("tokenizer.json",)), "bare has no tokenizer.json"),
        (
            tmp_path / "bare" / CONFIG,
            "is not a folder; expected the folder net-large .12 MB, licence CC-0. from",
        ),
        (tmp_path / "none", "is not a folder"),
        (tmp_path, "has no config.json; expected the folder net-large .* give its path"),
    ):
        with pytest.raises(CheckpointError, match=message):
            FOLDER.find(given)


@pytest.mark.parametrize("shards", [False, True])
def test_a_repository_gives_the_files_that_are_read_and_only_those(hub, shards):
    root, asked, server = hub
    write(root / "us/net", shards=shards)
    found = FOLDER.find("us/net", "refs/pr/2")
    weights = {INDEX, "a.safetensors", "b.safetensors"} if shards else {WEIGHTS}
    assert {path.name for path in found.iterdir()} == {CONFIG, "tokenizer.json"} | weights
    assert {revision for _, _, revision, name in asked if name != CONFIG} == {COMMIT}
    server.shutdown()
    server.server_close()
    assert FOLDER.find("us/net", COMMIT) == found  # without the hub
    assert read_tensors(found, {"encoder.w": "w"}.get)["w"].tolist() == [1, 1]


def test_a_bundle_gives_the_folder_in_it(hub):
    root, asked, _ = hub
    write(root / "us/bundle/net-large")
    (root / "us/bundle/large.safetensors").write_bytes(b"not wanted")
    found = FOLDER.find("us/bundle")
    assert (found.name, (found / WEIGHTS).is_file()) == ("net-large", True)
    assert not any(name == "large.safetensors" for *_, name in asked)
    del asked[:]
    assert FOLDER.find("us/bundle") == found
    assert not [name for command, _, _, name in asked if command == "GET"]


def test_errors_of_the_hub_are_one_line(hub):
    root, _, server = hub
    for name in ("them/net-large", "them/gated", "us/net"):
        write(root / name)
    write(root / "us/pickled", without=(WEIGHTS,))
    write(root / "us/wordless", without=("tokenizer.json",))
    (root / "us/empty").mkdir()
    for given, revision, message in (
        (
            None,
            None,
            "accept its licence on https://huggingface.co/them/net-large and log in with hf auth login, or name",
        ),
        (None, None, "them/net-large is gated: .* or name us/bundle, which has net-large without a gate"),
        ("them/gated", None, "them/gated is gated: .* hf auth login$"),
        ("us/none", None, "no folder us/none, and no such repository on the hub, or it is private: hf auth login"),
        ("us/net", "v9", "us/net on the hub has no revision v9; leave it out for the newest"),
        ("us/pickled", None, "us/pickled on the hub has no model.safetensors, and other formats are not read"),
        ("us/wordless", None, "us/wordless on the hub has no tokenizer.json"),
        ("us/empty", None, "us/empty on the hub has no config.json; get the folder net-large"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            FOLDER.find(given, revision)
        assert "\n" not in str(caught.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match=r"us/net, and the hub does not give it .*; get its files from https:"):
        FOLDER.find("us/net")


def test_only_wanted_tensors_are_read(tmp_path):
    folder = write(tmp_path / "net", shards=True)
    found = read_tensors(folder, {"encoder.w": "w"}.get)
    assert {key: value.dtype for key, value in found.items()} == {"w": torch.float32}
    (folder / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"b\.safetensors is missing, truncated or damaged"):
        read_tensors(folder, {"encoder.w": "w"}.get)
    (folder / INDEX).write_text('{"weight_map": {"w": "../w.safetensors"}}')
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: expected the name of a file"):
        read_tensors(folder, {"w": "w"}.get)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[1]", "contains a list; expected an object"),
        ("[" * 99_999, "is damaged"),
        (None, "cannot read"),
    ],
)
def test_a_json_file_is_an_object(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_json(tmp_path / "x.json")
