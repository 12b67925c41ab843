"""Formats: bytes to values and back. No files are opened here."""
