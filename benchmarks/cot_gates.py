"""Which planted errors the quality gates of ``prismaudio cot build`` find: precision and recall of each gate.

Clips of the studio are planned by an endpoint that answers with their true plans, into most of which it plants an error
(``tests/support/planted_errors.py``). The build is killed once and resumed, and compared with one that is not killed.

    python benchmarks/cot_gates.py FOLDER --count 60
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from chat_server import MODEL, serving  # type: ignore[import-not-found]
from PIL import Image
from planted_errors import ERRORS, plant  # type: ignore[import-not-found]
from rich.console import Console
from rich.table import Table

from prismaudio.media import read_clip
from prismaudio.plan import Plan
from prismaudio.plan.sections import tag
from prismaudio.types import FrameSpec

SIDE = 32
"""Height and width of the frames by which the endpoint recognises a clip."""
PRISMAUDIO = [sys.executable, "-m", "prismaudio"]


def planted(truths: list[dict[str, Any]]) -> dict[str, tuple[str, str, Plan]]:
    """Error, gate and plan of each clip by id; the kinds of errors take turns, and a quarter of the clips have none."""
    names, cases = list(ERRORS), {}
    for number, truth in enumerate(truths):
        rng = random.Random(f"gates {number}")
        plan = Plan(truth["sections"])
        other = Plan(truths[number - 1]["sections"])
        found = ("", "", plan)
        for name in [names[(number + turn) % len(names)] for turn in range(len(names))]:
            if number % 4 == 3:  # a quarter is right
                break
            try:
                error, changed, gate = plant(
                    plan, rng, duration_s=truth["duration_s"], clip_id=truth["id"], other=other, name=name
                )
            except LookupError:
                continue
            found = (error, gate, changed)
            break
        error, gate, changed = found
        speech = "A man speaks from 0.50 s to 2.00 s." if gate == "SpeechClaimGate" else "Nobody speaks."
        others = {"loudness": "The whole is at -23 LUFS.", "speechfree": speech}  # of plugins that may be installed
        cases[truth["id"]] = (error, gate, Plan({**changed, **others}))
    return cases


class Endpoint:
    """Answers questions about clips, which it recognises by their first frame.

    Args:
        folder: Folder with the clips.
        plans: The plan of each clip, by id.
    """

    def __init__(self, folder: Path, plans: dict[str, Plan]) -> None:
        self.plans = plans
        self.looks = {name: self._first(folder / f"{name}.mp4") for name in plans}

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        """All sections of the plan of the clip."""
        content = next(message["content"] for message in messages if message["role"] == "user")
        url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB").resize((SIDE, SIDE))
        look = self._small(np.asarray(image))
        name = min(self.looks, key=lambda name: float(np.square(self.looks[name] - look).mean()))
        plan = self.plans[name]
        return str(Plan({section: plan[section] for section in plan if tag(section) in content[-1]["text"]}))

    def _first(self, path: Path) -> Any:
        return self._small(read_clip(path, FrameSpec(1.0, SIDE)).frames_at(1.0)[0].permute(1, 2, 0).numpy())

    @staticmethod
    def _small(image: Any) -> Any:
        return np.asarray(image, np.float32)


def build(words: list[str], environment: dict[str, str], *, kill_after: int = 0, folder: Path) -> None:
    """Run ``prismaudio cot build``, and kill it when it has written some rows."""
    command = [*PRISMAUDIO, "cot", "build", *words, "-o", str(folder)]
    process = subprocess.Popen(command, env=environment)  # noqa: S603
    while process.poll() is None:
        time.sleep(0.1)
        n_rows = sum(path.read_bytes().count(b"\n") for path in folder.glob("rows-*.jsonl"))
        if kill_after and n_rows >= kill_after:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
    if process.returncode:
        raise SystemExit(f"cot build ended with code {process.returncode}")


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of a build by id, without seconds."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        for origin in row["origins"].values():
            origin.pop("seconds", None)
    return {row["id"].rpartition("/")[2]: row for row in rows}


def table(cases: dict[str, tuple[str, str, Plan]], rows: dict[str, dict[str, Any]]) -> tuple[Table, Table]:
    """Errors found, by kind; precision and recall of each gate."""
    kinds = Table("error", "planted", "left out by the planner", "rejected by its gate", "rejected", "missed")
    for name, (gate, _) in ERRORS.items():
        ids = [key for key, case in cases.items() if case[0] == name]
        if not ids:
            continue
        left_out = sum("left out" in " ".join(rows[key]["warnings"]) for key in ids)
        own = sum(bool(rows[key]["gates"].get(gate)) for key in ids)
        rejected = sum(not rows[key]["accepted"] for key in ids)
        kinds.add_row(name, *map(str, (len(ids), left_out, own, rejected, len(ids) - rejected)))
    clean = [key for key, case in cases.items() if not case[0]]
    kinds.add_row("none", str(len(clean)), "0", "-", str(sum(not rows[key]["accepted"] for key in clean)), "-")
    gates = Table("gate", "rejects", "precision", "recall")
    for gate in dict.fromkeys(gate for gate, _ in ERRORS.values()):
        rejects = [key for key, row in rows.items() if row["gates"].get(gate)]
        mine = [key for key, case in cases.items() if case[1] == gate]
        precision = sum(bool(cases[key][0]) for key in rejects) / len(rejects) if rejects else float("nan")
        recall = sum(key in rejects for key in mine) / len(mine) if mine else float("nan")
        gates.add_row(gate, str(len(rejects)), f"{precision:.2f}", f"{recall:.2f} of {len(mine)}")
    return kinds, gates


def main() -> None:
    """Render, build, kill, resume, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="working folder")
    parser.add_argument("--count", type=int, default=60, help="number of clips")
    options = parser.parse_args()
    clips = options.folder / "clips"
    command = [*PRISMAUDIO, "studio", "render", "--count", str(options.count), "--size", "128", "--fps", "16"]
    subprocess.run([*command, "-o", str(clips)], check=True)  # noqa: S603
    truths = [json.loads(path.read_text()) for path in sorted(clips.glob("*.json"))][: options.count]
    cases = planted(truths)
    manifest = options.folder / "clips.csv"
    manifest.write_text("video\n" + "".join(f"clips/{name}.mp4\n" for name in cases))
    console = Console(width=120)
    with serving(Endpoint(clips, {name: case[2] for name, case in cases.items()})) as server:
        environment = os.environ | {"PRISMAUDIO_CACHE": str(options.folder / "cache")}
        words = [str(manifest), "--planner", "ApiPlanner", "--planner.model", MODEL, "--planner.base_url", server.url]
        words += ["--planner.ask", "together"]
        killed, whole = options.folder / "killed", options.folder / "whole"
        build(words, environment, kill_after=options.count // 2, folder=killed)
        n_before = len(server.questions)
        build(words, environment, folder=killed)
        n_resumed = len(server.questions) - n_before
        build(words, environment | {"PRISMAUDIO_CACHE": str(options.folder / "other_cache")}, folder=whole)
    same = rows_of(killed) == rows_of(whole)
    console.print(f"killed after {n_before} questions, resumed with {n_resumed} more; equal to a whole build: {same}")
    for part in table(cases, rows_of(whole)):
        console.print(part)
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
