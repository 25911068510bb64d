"""Chain-of-thought data: plans that a model writes for the clips of a data set, checked, filtered and corrected."""
