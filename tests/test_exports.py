"""What ``from prismaudio import …`` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import prismaudio


@pytest.mark.parametrize("name", prismaudio.__all__)
def test_every_name_can_be_imported(name):
    assert getattr(prismaudio, name) is not None
    assert name in dir(prismaudio)


def test_importing_the_package_imports_neither_torch_nor_lightning():
    code = (
        "import sys, prismaudio; from prismaudio import Plan, Component; "
        "print(sorted({'torch', 'lightning', 'torchmetrics', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(ImportError, match="cannot import name 'Fondation'"):
        from prismaudio import Fondation  # noqa: F401
