"""Values: annotations, boxes, labels, samples, classes, statistics."""
