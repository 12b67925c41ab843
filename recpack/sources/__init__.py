"""Data sets of every format as one thing: annotations with their images, in tasks for workers."""
