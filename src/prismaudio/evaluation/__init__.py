"""Evaluation of audio files with rewards and metrics."""
