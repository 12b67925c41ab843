from __future__ import annotations

import sys

import litdata
from rows import rows


def sample(row):  # type: ignore[no-untyped-def]
    _, label, path = row
    with open(path, "rb") as image:
        return {"image": image.read(), "label": label}


if __name__ == "__main__":
    litdata.optimize(
        fn=sample,
        inputs=list(rows(0, 1)),
        output_dir=sys.argv[3],
        num_workers=int(sys.argv[4]),
        chunk_bytes="64MB",
        start_method="fork",
        verbose=False,
    )
