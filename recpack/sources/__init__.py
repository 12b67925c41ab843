"""Readers of data sets, one per format."""
