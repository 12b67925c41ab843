"""Finished ``.rec`` files: read, written, compared, taken apart."""
