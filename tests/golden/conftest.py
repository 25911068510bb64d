"""Makes the replayers importable: ``golden_dit``, ``golden_grpo``, ``golden_schedules`` and ``golden_vae``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

for _name in ("dit", "grpo", "schedules", "vae"):
    _spec = importlib.util.spec_from_file_location(f"golden_{_name}", Path(__file__).with_name(f"{_name}.py"))
    sys.modules[f"golden_{_name}"] = _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)
