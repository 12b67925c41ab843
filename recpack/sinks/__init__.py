"""Where records go: a file, memory, S3."""
