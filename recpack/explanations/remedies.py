"""Remedies that several problem codes have: a command stands at the end, after a colon."""

from __future__ import annotations

CONVERT = "recpack convert DATASET OUT.rec"
SKIP = f"leave out such files, and list them in OUT.quarantine.tsv: {CONVERT} --on-error skip"
LOOK = "see the images with their boxes: recpack check DATASET --report check.html"
KEEP = f"keep such images as background: {CONVERT} --negatives keep"
NAMES = f"name the classes in the order of their ids: {CONVERT} --classes cat,dog"
REENCODE = f"encode every image anew: {CONVERT} --reencode --overwrite"
UNPACK = "make images and a list of it, to correct them: recpack unpack IN.rec DIR"
AGAIN = f"make the file again: {CONVERT} --overwrite"
FACES = f"convert the folders again: {CONVERT} --from identities --overwrite"
