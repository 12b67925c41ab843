"""The first pass: read and judge everything, write nothing."""
