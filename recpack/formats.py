"""The names of the formats that come in and go out."""

SOURCE_FORMATS = ("voc", "coco", "yolo", "augmented-manifest", "image-json")
OUTPUT_FORMATS = ("rec", "augmented-manifest", "image-json")


def output_format(output: str) -> str:
    """What an output's name asks for: ``x.rec``, ``x.manifest`` or ``.jsonl``, else a folder."""
    if output.endswith((".manifest", ".jsonl")):
        return "augmented-manifest"
    return "image-json" if output.endswith("/") else "rec"
