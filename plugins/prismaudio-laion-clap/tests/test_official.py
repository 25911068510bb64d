"""The package of the authors as a choice, where it is not installed or cannot be imported; see also test_oracle.py."""

import pytest
from official_package import check_absent, check_torchaudio_of_another_torch, line_of

from prismaudio.errors import PrismAudioError
from prismaudio_laion_clap.metric import ClapScore
from prismaudio_laion_clap.reward import LaionClapReward

PACKAGE = "laion_clap"


@pytest.mark.parametrize("kind", [LaionClapReward, ClapScore])
def test_a_package_that_is_not_installed_is_one_line(monkeypatch, kind):
    check_absent(kind, PACKAGE, "prismaudio-laion-clap", monkeypatch)


def test_a_torchaudio_of_another_torch_is_one_line(monkeypatch, tmp_path):
    check_torchaudio_of_another_torch(LaionClapReward, PACKAGE, tmp_path, monkeypatch)


def test_a_network_is_one_of_the_native_implementation(network):
    assert "give weights, or leave network out" in line_of(LaionClapReward, PrismAudioError, network=network)
