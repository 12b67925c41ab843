"""Measurements, side by side with the tools that recpack replaces."""
