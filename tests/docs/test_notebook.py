"""The training notebook runs from top to bottom, and what it shows is what it says."""

from __future__ import annotations

import json
import re
import subprocess

import doc_pages as pages
import pytest

NOTEBOOK = pages.DOCS / "tutorial" / "train-in-a-notebook.ipynb"


def script(notebook):
    """The code cells as one script; a line with ``!`` is a command of the shell."""
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    text = re.sub(r"(?m)^!(.*)$", r"__import__('subprocess').run(\1, shell=True, check=True)", "\n".join(cells))
    return re.sub(r"\.run\((.*), shell", lambda line: f".run({line[1]!r}, shell", text)


def test_it_is_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.skipif(not pages.HAS_STUDIO, reason="prismaudio-studio is not installed")
def test_it_fine_tunes_and_post_trains(tmp_path):
    code = script(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    environment = pages.make_environment(tmp_path) | {"MPLBACKEND": "agg"}
    done = subprocess.run(
        ["python", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = re.search(r"validation loss: (\S+) before, (\S+) after", done.stdout)
    highs = re.search(r"above 800 Hz: studio (\S+) dB, fine-tuned (\S+) dB", done.stdout)
    widths = re.search(r"width of the validation clips: (\S+) before, (\S+) after", done.stdout)
    assert float(losses[2]) < float(losses[1])
    assert float(highs[2]) < float(highs[1])
    assert float(widths[2]) > float(widths[1])
    assert (tmp_path / "wider" / "model.safetensors").is_file()
