"""S3: the client, objects, uploads."""
