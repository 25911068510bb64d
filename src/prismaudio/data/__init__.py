"""Clips of anybody's: manifests, features that are computed once, and the data module that trains on them."""
