"""Measurements of gpgen next to what else there is, side by side in one run."""
