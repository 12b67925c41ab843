"""Where bytes lie: a disk, S3, archives."""
