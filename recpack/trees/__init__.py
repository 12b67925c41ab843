"""Where data sets lie: trees of files, on a disk or on S3."""
