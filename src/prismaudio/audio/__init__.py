"""Signal processing: pure functions on float32 audio ``(..., samples)`` in -1 .. 1; stereo is ``(2, samples)``."""
