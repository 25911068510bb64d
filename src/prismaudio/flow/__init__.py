"""Flow matching: the path from data to noise, and how its times are drawn. Pure functions."""
