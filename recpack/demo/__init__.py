"""The demo, and a download of real data."""
