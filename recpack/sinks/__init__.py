"""Where packed segments go: a file, an S3 object, memory."""
