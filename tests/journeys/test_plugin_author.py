"""A plugin author writes a reward with a dimension of its own, tests it, scores and trains with it."""

from __future__ import annotations

import json
import re

import pytest

pytestmark = pytest.mark.slow


def test_a_new_reward_is_edited_checked_installed_and_used(shell, folder):
    hint = shell("prismaudio plugins new warmth --kind reward --dimension warmth")
    assert "pip install -e 'prismaudio-warmth[test]' && pytest prismaudio-warmth" in hint
    module = folder / "prismaudio-warmth/src/prismaudio_warmth/warmth.py"
    text = module.read_text()
    measure = re.search(r"    return \(10 \* audio.*\n", text)[0]
    edited = """\
    power = torch.fft.rfft(audio).abs().square().mean(1)
    low = torch.fft.rfftfreq(audio.shape[2], 1 / sample_rate_hz) < 1000
    return (10 * (power[:, low].sum(1) / power.sum(1).clamp(min=1e-9)).clamp(min=1e-7).log10()).clamp(LOWEST_DB, 0.0)
"""
    module.write_text(text.replace(measure, edited))
    shell("pip install prismaudio-warmth && python -m pytest -q -p no:cacheprovider prismaudio-warmth")
    assert "passed" in shell("prismaudio plugins check warmth")
    assert "WarmthReward" in shell("prismaudio plugins list")
    shell("prismaudio generate samples/bell_and_ball.mp4 -o out --steps 2")
    shell("prismaudio score out/bell_and_ball.wav --rewards WarmthReward --metrics none --json -  > scores.jsonl")
    score = json.loads((folder / "scores.jsonl").read_text().splitlines()[0])["scores"]["WarmthReward"]
    assert -70 <= score["value"] <= 0
    assert json.loads((folder / "out/bell_and_ball.json").read_text())["plan"]["warmth"]
    shell(
        "prismaudio fit --config smoke/fast_grpo --model.rewards.warmth WarmthReward --trainer.max_steps 1 "
        "--trainer.default_root_dir runs --trainer.logger.save_dir runs"
    )
