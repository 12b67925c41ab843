"""Trees of files, one kind per storage: a folder, S3, archives."""
