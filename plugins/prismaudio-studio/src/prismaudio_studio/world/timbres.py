"""Synthesis parameters of each class: modes of impacts, spectra of noises and tones."""

from __future__ import annotations

from dataclasses import dataclass, field

from prismaudio_footage.families import UNKNOWN


@dataclass(frozen=True)
class Impact:
    """Parameters of an impact sound: decaying modes and a noise burst.

    Args:
        pitch_hz: Frequency of the mode with ratio 1, for medium size.
        ratios: Frequencies of the modes relative to the pitch.
        gains: Amplitudes of the modes.
        t60_s: Decay time by 60 dB of the first mode; higher modes decay faster.
        noise: Amplitude of the noise burst relative to the modes.
        noise_hz: Lower and upper band edge of the noise.
        noise_t60_s: Decay time by 60 dB of the noise.
        damping: Exponent of the ratio by which the decay time of higher modes is divided.
    """

    pitch_hz: float
    ratios: tuple[float, ...]
    gains: tuple[float, ...]
    t60_s: float
    noise: float
    noise_hz: tuple[float, float]
    noise_t60_s: float
    damping: float = 0.5


@dataclass(frozen=True)
class Drone:
    """Parameters of a sustained sound: harmonics and band-limited noise.

    Args:
        pitch_hz: Fundamental frequency for medium size; 0 for noise alone.
        gains: Amplitudes of the harmonics.
        noise: Amplitude of the noise relative to the harmonics.
        bands: Noise bands: lower edge and upper edge in Hz for medium size, and gain.
        vibrato: Relative depth of a slow vibrato.
    """

    pitch_hz: float
    gains: tuple[float, ...] = ()
    noise: float = 0.0
    bands: tuple[tuple[float, float, float], ...] = field(default=())
    vibrato: float = 0.0


IMPACTS = {
    "bell": Impact(
        620, (1, 2.0, 2.4, 3.0, 4.5, 5.33, 8.0), (0.7, 1, 0.8, 0.6, 0.5, 0.4, 0.2), 1.5, 0.15, (2000, 6000), 0.03
    ),
    "woodblock": Impact(1050, (1, 1.48, 2.57, 3.6), (1, 0.8, 0.4, 0.2), 0.09, 0.5, (700, 3500), 0.03),
    "glass": Impact(2150, (1, 1.51, 2.32, 3.2), (1, 0.3, 0.6, 0.3), 0.55, 0.2, (4000, 7600), 0.02),
    "drum": Impact(95, (1, 1.59, 2.14, 2.65, 3.5), (1, 0.7, 0.5, 0.35, 0.2), 0.4, 0.35, (80, 1200), 0.09),
    "ball": Impact(250, (1, 1.9, 2.7), (1, 0.45, 0.2), 0.11, 0.5, (200, 900), 0.05),
    "coin": Impact(
        3150, (1, 1.14, 1.37, 1.71, 2.03, 2.3), (1, 0.9, 0.9, 0.8, 0.7, 0.5), 0.22, 0.3, (3000, 7800), 0.02, 0.2
    ),
    "shaker": Impact(0, (), (), 0.1, 1.0, (4200, 7600), 0.16),
    UNKNOWN: Impact(0, (), (), 0.1, 1.0, (500, 4500), 0.28),
}

DRONES = {
    "marble": Drone(0, noise=1.0, bands=((1300, 1900, 1.0), (2700, 3300, 0.7))),
    "cart": Drone(0, noise=1.0, bands=((60, 260, 1.0), (520, 800, 0.5))),
    "whistle": Drone(2350, (1.0, 0.12, 0.06), 0.25, ((1200, 6500, 1.0),), 0.004),
    "engine": Drone(68, (1, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.08), 0.12, ((100, 900, 1.0),)),
    "buzzer": Drone(290, (1, 0.1, 0.8, 0.1, 0.7, 0.1, 0.6, 0.1, 0.5, 0.1, 0.4, 0.1, 0.3), 0.0),
    UNKNOWN: Drone(0, noise=1.0, bands=((300, 1200, 0.6), (1500, 5000, 1.0))),
}
