"""``python -m tests.faults local``, and ``s3`` beside it: see ``tests/README.md``."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module(f"tests.faults.{sys.argv[1]}").main(sys.argv[2:]))
