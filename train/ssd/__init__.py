"""SageMaker's Object Detection algorithm (MXNet SSD) in PyTorch: the same records,
hyperparameters and model files. Needs ``recpack[ssd]``; the launcher imports nothing of it."""
