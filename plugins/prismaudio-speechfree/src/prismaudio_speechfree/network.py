"""Silero's voice activity detector: the probability of speech in every 32 ms of a sound."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from prismaudio.audio.resample import resample
from prismaudio.downloads import PublishedFile
from prismaudio.errors import CheckpointError
from prismaudio.weight_files import fill, read_weights

RATE_HZ = 16_000
FRAME, CONTEXT, PADDING = 512, 64, 64
N_FFT, HOP = 256, 128
FRAME_S = FRAME / RATE_HZ

FILE = PublishedFile(
    "silero_vad_16k_op15.onnx",
    size_mb=1,
    licence="MIT",
    page="https://pypi.org/project/silero-vad",
    path="silero_vad/data/silero_vad_16k_op15.onnx",
    distribution="silero-vad",
)


RENAMED = {
    "stft.forward_basis_buffer": "basis.weight",
    "decoder.decoder.2": "output",
    **{f"decoder.rnn.{part}": f"lstm.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
}


class SpeechDetector(nn.Module):
    """A spectrogram of learned basis, four convolutions, and a memory from frame to frame.

    Source:
        Weights and form of Silero VAD 6.2 (MIT). It is given one frame after the other; here all frames of all sounds
        go through the convolutions at once, and only the memory goes along time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Conv1d(1, N_FFT + 2, N_FFT, HOP, bias=False)
        widths = (N_FFT // 2 + 1, 128, 64, 64, 128)
        sizes = zip(widths[:-1], widths[1:], (1, 2, 2, 1), strict=True)
        self.encoder = nn.ModuleList(nn.Conv1d(before, after, 3, stride, 1) for before, after, stride in sizes)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.output = nn.Conv1d(128, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """Probabilities ``(batch, frames)`` of audio ``(batch, samples)`` at 16 kHz; the last frame is filled up."""
        n_frames = -(-sound.shape[-1] // FRAME)
        filled = nn.functional.pad(sound, (CONTEXT, n_frames * FRAME - sound.shape[-1]))
        frames = filled.unfold(-1, CONTEXT + FRAME, FRAME).flatten(0, 1)
        spectra = self.basis(nn.functional.pad(frames, (0, PADDING), mode="reflect")[:, None])
        real, imaginary = spectra.chunk(2, 1)
        x = (real.square() + imaginary.square()).sqrt()
        for layer in self.encoder:
            x = layer(x).relu()
        memory = self.lstm(x.squeeze(-1).unflatten(0, (len(sound), n_frames)))[0]
        found: Tensor = self.output(memory.relu().transpose(1, 2))
        return found.squeeze(1).sigmoid()

    def listen(self, audio: Tensor, sample_rate_hz: int) -> Tensor:
        """Probability of speech ``(batch, frames)`` in every 32 ms of sounds; the network goes where they are.

        Args:
            audio: Audio ``(batch, channels, samples)``.
            sample_rate_hz: Its sample rate.
        """
        if self.output.weight.device != audio.device:
            self.to(audio.device)
        with torch.no_grad():
            return self(resample(audio.float().mean(1), sample_rate_hz, RATE_HZ))


@lru_cache(maxsize=2)
def load_detector(given: str | None = None) -> SpeechDetector:
    """The network with its weights.

    Args:
        given: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to look where it is known to be.

    Raises:
        CheckpointError: They cannot be had, or are those of something else.
    """
    path, network = FILE.find(given), SpeechDetector()
    weights = _from_onnx(path) if path.suffix == ".onnx" else read_weights(path)
    fill(network, weights, path)
    return network


def _from_onnx(path: Path) -> dict[str, Tensor]:
    """Weights by our names, of a file that has them by the names of the published network."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's own
        raise CheckpointError(f"{path} is no ONNX file: {' '.join(str(error).split())}; get {FILE.advice()}") from error
    found = {}
    for item in graph.initializer:
        name = item.name.removeprefix("model.").replace(".reparam_conv", "")
        for theirs, ours in RENAMED.items():
            name = name.replace(theirs, ours)
        found[name] = torch.from_numpy(numpy_helper.to_array(item).copy())
    return found
