"""Amazon SageMaker training jobs from a recpack manifest."""
