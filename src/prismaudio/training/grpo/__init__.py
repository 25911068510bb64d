"""Group-relative policy optimisation of flows: windows, advantages, losses, weights of steps."""
