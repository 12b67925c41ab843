"""The demonstration, and real data to try."""
