"""Signal: pure functions on waveforms. Sound is float32 ``(..., samples)`` in -1 .. 1, stereo is ``(2, samples)``."""
