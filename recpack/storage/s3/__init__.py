"""S3: how it is reached, its objects, its uploads."""
