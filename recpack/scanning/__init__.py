"""The first pass: everything is read and judged, nothing is written."""
