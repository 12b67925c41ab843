"""Storage: disks, S3, archives."""
