"""Checks that third parties can run on what they wrote."""
