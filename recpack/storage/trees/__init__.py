"""Data sets' roots as trees of files: a folder, S3, archives."""
