from __future__ import annotations

import pytest

from prismaudio.inference import PrismAudio


@pytest.fixture
def model(tiny_model: PrismAudio) -> PrismAudio:
    return tiny_model
