"""The package of the authors as a choice, where it is not installed or cannot be imported; see also test_oracle.py."""

import sys

import pytest

from prismaudio.errors import BrokenPluginError, PrismAudioError
from prismaudio_laion_clap.metric import ClapScore
from prismaudio_laion_clap.reward import LaionClapReward

PACKAGE = "laion_clap"


def line_of(kind, error=BrokenPluginError, **arguments):
    with pytest.raises(error) as caught:
        kind(**arguments, implementation="official")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [LaionClapReward, ClapScore])
def test_a_package_that_is_not_installed_is_one_line(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    line = line_of(kind)
    assert f"implementation official needs {PACKAGE}, which is not installed: pip" in line
    assert "install 'prismaudio-laion-clap[official]'" in line
    assert "plugins/prismaudio-laion-clap[official]" in line
    assert line.endswith("or use implementation native")


def test_a_torchaudio_of_another_torch_is_one_line(monkeypatch, tmp_path):
    broken = tmp_path / PACKAGE
    broken.mkdir()
    (broken / "__init__.py").write_text("raise OSError('Could not load this library:\\n_torchaudio.abi3.so')")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    line = line_of(LaionClapReward)
    assert "(Could not load this library: _torchaudio.abi3.so) with torch 2." in line
    assert "such as torch 2.11 with torchaudio 2.11 and torchvision 0.26, or use implementation native" in line


def test_a_network_is_one_of_the_native_implementation(network):
    assert "give weights, or leave network out" in line_of(LaionClapReward, PrismAudioError, network=network)
