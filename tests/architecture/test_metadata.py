"""What the metadata of the distributions say, and what the core says of them."""

import re
import tomllib
from pathlib import Path

import pytest

from prismaudio.registry import DEPENDS, OFFICIAL

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize("distribution", OFFICIAL)
def test_messages_name_what_a_plugin_needs(distribution):
    project = tomllib.loads((PLUGINS / distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split(r"[<>=!~ \[]", word)[0] for word in project.get("dependencies", ())]
    assert tuple(name for name in needed if name in OFFICIAL) == DEPENDS.get(distribution, ())
