"""``.rec`` files as data sets of PyTorch: ``pip install 'recpack[torch]'``."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"recpack.torch needs PyTorch: pip install 'recpack[torch]' ({error})", name="torch"
    ) from error

from recpack.torch.dataset import RecordDataset
from recpack.torch.iterable import RecordIterableDataset

__all__ = ["RecordDataset", "RecordIterableDataset"]


def __dir__() -> list[str]:
    return __all__
