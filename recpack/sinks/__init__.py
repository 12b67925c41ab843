"""The destinations of records: a file, memory, S3."""
