"""``python -m train.ssd train|serve``: what SageMaker starts in a container."""

from __future__ import annotations

from .container import main

if __name__ == "__main__":
    raise SystemExit(main())
