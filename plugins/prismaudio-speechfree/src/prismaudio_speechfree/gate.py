"""A gate for plans with speech that is not heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.cot.gates import Gate, audio_of
from prismaudio.errors import CheckpointError, NotApplicableError, PrismAudioError
from prismaudio_speechfree.network import FRAME_S, SpeechDetector, load_detector
from prismaudio_speechfree.plan import spoken_words

if TYPE_CHECKING:
    from prismaudio.plan import Plan
    from prismaudio.types import Clip, Need


class SpeechClaimGate(Gate):
    """Rejects plans in which somebody speaks, of clips in which the voice detector hears no speech.

    Only words of speech count, such as *talks* and *conversation*; singing, crowds and calls are not speech to the
    detector. Without weights the gate does not apply.

    Args:
        weights: ``silero_vad_16k_op15.onnx``, or this network as ``.safetensors``; None to take that of the package
            ``silero-vad``.
        threshold: Minimum probability of speech, averaged over the window, of a clip with speech.
        window_s: Seconds over which the probability is averaged.
        network: A network to use instead of published weights.
    """

    needs: frozenset[Need] = frozenset({"reference"})

    def __init__(
        self,
        weights: str | None = None,
        threshold: float = 0.2,
        window_s: float = 0.25,
        network: SpeechDetector | None = None,
    ) -> None:
        if window_s <= 0:
            raise PrismAudioError(f"window_s is {window_s}; expected more than 0 seconds")
        self.weights, self.threshold, self.window_s, self.network = weights, threshold, window_s, network

    def check(self, clip: Clip, plan: Plan, cot: str = "") -> str | None:
        """The words of the plan that claim speech, and the probability of speech in the clip."""
        audio, sample_rate_hz = audio_of(clip)
        if (found := spoken_words(plan)) is None:
            return None
        try:
            self.network = self.network or load_detector(self.weights)
        except CheckpointError as error:
            raise NotApplicableError(str(error)) from error
        speech = self.network.speech_probability(audio[None], sample_rate_hz)
        n = min(speech.shape[1], max(1, round(self.window_s / FRAME_S)))
        probability = float(speech.unfold(1, n, 1).mean(2).amax())
        if probability >= self.threshold:
            return None
        name, words = found
        return (
            f"the {name} section has speech ({words!r}), but the probability of speech is at most {probability:.2f}, "
            f"less than {self.threshold:.2f}"
        )
