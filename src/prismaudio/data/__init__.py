"""Training data: manifests, precomputed latents and features, and data modules."""
