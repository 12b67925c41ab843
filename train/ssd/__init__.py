"""SageMaker's object detection algorithm (SSD) in PyTorch: train, continue, serve, export."""
