"""Without PyTorch these tests are left out; with it each runs on one core, as many run at once."""

from __future__ import annotations

import importlib.util

from tests.support.missing import PROMISED

if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)
elif not PROMISED:  # make test installs it in .venv-test, so there its absence is a failure
    collect_ignore_glob = ["test_*.py"]
