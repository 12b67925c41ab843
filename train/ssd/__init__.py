"""SageMaker's object detection, in PyTorch: train, continue, serve and export its models.

Needs ``pip install 'recpack[ssd]'``. The launcher in ``train`` never imports this package.
"""
