"""Measurements, side by side; see ``python -m benchmarks --help``."""
