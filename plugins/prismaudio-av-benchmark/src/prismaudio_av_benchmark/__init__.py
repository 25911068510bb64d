"""The networks of av-benchmark as metrics. Imported by every command, so it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable

from prismaudio import Command, Component, hookimpl

_METRICS = "prismaudio_av_benchmark.metrics:"


@hookimpl
def prismaudio_metrics() -> Iterable[Component]:
    """Distances of distributions, and the ImageBind score."""
    summaries = {
        "PannsFrechetDistance": "FD between PANNs embeddings of generated and reference clips.",
        "PannsKernelDistance": "KAD between PANNs embeddings of generated and reference clips.",
        "PannsKlDivergence": "KL between PANNs classes of reference and generated clips.",
        "PannsInceptionScore": "IS of PANNs classes.",
        "PasstFrechetDistance": "FD between PaSST embeddings of generated and reference clips.",
        "PasstKernelDistance": "KAD between PaSST embeddings of generated and reference clips.",
        "PasstKlDivergence": "KL between PaSST classes of reference and generated clips.",
        "PasstInceptionScore": "IS of PaSST classes.",
        "VggishFrechetDistance": "FD (FAD) between VGGish embeddings of generated and reference audio.",
        "VggishKernelDistance": "KAD between VGGish embeddings of generated and reference audio.",
    }
    found = [Component(f"{_METRICS}{name}", summary) for name, summary in summaries.items()]
    score = Component(f"{_METRICS}ImageBindScore", "Cosine similarity of frames and audio by ImageBind.", "semantic")
    return [*found, score]


@hookimpl
def prismaudio_commands() -> Iterable[Command]:
    """The command that writes feature caches of av-benchmark."""
    return [Command("av-benchmark", "prismaudio_av_benchmark.cli:main", "write feature caches of av-benchmark")]
