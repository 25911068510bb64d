from __future__ import annotations

import browser
import pytest

from prismaudio.cli.main import main


@pytest.fixture(scope="session")
def chromium():
    with browser.browser() as found:
        yield found


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory):
    """The folder of an evaluation of the small model on six clips of the studio."""
    folder = tmp_path_factory.mktemp("evaluation") / "out"
    words = ["evaluate", "--suite", "studio", "--suite.count", "6", "--model", "small=studio", "--steps", "4"]
    words += ["--audio", f"truth={folder / 'suite'}", "-o", str(folder)]
    words += ["--rewards", "TemporalReward,SpatialReward", "--metrics", "GccMse,StereoWidth,ReferenceWidth"]
    assert main(words) == 0
    return folder
