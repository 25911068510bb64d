"""Judging audio: what rewards and metrics say of files and clips."""
