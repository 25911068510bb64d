"""Runs the code blocks of a page, in order, in one folder, and compares what they print with what the page shows.

What a page may say:

- A ``bash`` or ``python`` block is run. A ``text`` block right after it is what it must print (``...`` for anything).
- A block with ``title="name"`` is written to the file of that name, and not run.
- ``<!-- not run: why -->`` before a block leaves it out; ``<!-- needs: prismaudio-studio -->`` anywhere says that a
  page needs that distribution, with its world and its model. A page that needs another one is run by its tests.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HAS_STUDIO = importlib.util.find_spec("prismaudio_studio") is not None
NEEDS_STUDIO = "<!-- needs: prismaudio-studio -->"
NEEDS_VLM = "<!-- needs: prismaudio-vlm -->"
RUN = ("bash", "python")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<remark>not run: [^\n]+|run) -->\n+)?"
    r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_PIP = """\
#!/bin/sh
# What `pip install FOLDER` does to a pure package whose needs are met, offline: build its wheel and unpack it.
[ "$1" = install ] || { echo "only install is known here" >&2; exit 2; }
for folder; do :; done
cd "$folder" && exec python - <<'PYTHON'
import sysconfig, tempfile, zipfile
from pathlib import Path
from hatchling.build import build_wheel
folder = tempfile.mkdtemp()
zipfile.ZipFile(Path(folder) / build_wheel(folder)).extractall(sysconfig.get_path("purelib"))
PYTHON
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        language: ``bash``, ``python``, ``text`` …
        code: Its lines.
        title: The file that it shows; empty for none.
        remark: ``run``, ``not run: why``, or empty.
        line: Where it begins.
        joined: Whether nothing but white space is between it and the block before.
    """

    language: str
    code: str
    title: str
    remark: str
    line: int
    joined: bool


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, end = [], -1
    for match in _BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["options"])
        line = text.count("\n", 0, match.start("code")) + 1
        joined = end >= 0 and not text[end : match.start()].strip()
        found.append(
            Block(match["language"], match["code"], title[1] if title else "", match["remark"] or "", line, joined)
        )
        end = match.end()
    return found


def make_environment(folder: Path) -> dict[str, str]:
    """A virtual environment that sees this one's packages, so that a page may install something of its own."""
    home = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True
    )
    site = Path(where.stdout.decode().strip())
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name, script in {"prismaudio": '#!/bin/sh\nexec python -m prismaudio "$@"\n', "pip": _PIP}.items():
        (home / "bin" / name).write_text(script)
        (home / "bin" / name).chmod(0o755)
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PRISMAUDIO_", "PYTHONPATH"))}
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return variables | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100"}


def run_page(page: Path, folder: Path, *, marked_only: bool = False) -> list[str]:
    """Run a page in an empty folder that holds a copy of ``samples``.

    Args:
        page: The page.
        folder: Where to run it.
        marked_only: Run only blocks that ``<!-- run -->`` stands before.

    Returns:
        What did not happen as the page says; empty when all did.
    """
    work = folder / "work"
    work.mkdir()
    (work / "samples").symlink_to(ROOT / "samples")
    environment = make_environment(folder)
    printed = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        place = f"{page.name}:{block.line}"
        if block.language == "text" and block.joined:
            if not same(block.code, printed):
                return [f"{place}: shown:\n{block.code}\nprinted:\n{printed}"]
        elif block.title:
            target = work / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
        elif block.language in RUN and block.remark == ("run" if marked_only else ""):
            command = ["bash", "-eu", "-c"] if block.language == "bash" else ["python", "-c"]
            done = subprocess.run(
                [*command, block.code], cwd=work, env=environment, capture_output=True, text=True, timeout=900
            )
            printed = done.stdout
            if done.returncode:
                return [
                    f"{place}: exit code {done.returncode}\n{block.code}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
                ]
        else:
            printed = block.code if block.language == "text" else ""
    return []


def same(shown: str, printed: str) -> bool:
    """Whether the output is the shown one, where ``...`` stands for anything and white space does not count."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown.strip() + "\n", printed.strip() + "\n", flags)
