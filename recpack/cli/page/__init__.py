"""The HTML page of a check: one file with its pictures, its style and its script; no network."""
