"""Metrics: torchmetrics over many clips."""
