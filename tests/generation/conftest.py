from __future__ import annotations

import pytest

from prismaudio.generation import PrismAudio


@pytest.fixture
def model(tiny_model: PrismAudio) -> PrismAudio:
    return tiny_model
