"""What a data set is, in each format."""
