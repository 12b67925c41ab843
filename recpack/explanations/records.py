"""Problems of records and lists, which verify finds."""

from __future__ import annotations

from recpack.explanations.remedies import AGAIN, CONVERT, FACES, REENCODE, UNPACK

TEXTS: dict[str, tuple[str, ...]] = {
    "record-label": (
        "A detection label has widths, then a class and four edges for each object.",
        "a .rec for classification: recpack verify train.rec --reader mxnet",
        "if it is for classification: recpack verify IN.rec --reader image-classification",
    ),
    "record-empty": (
        "Readers stop at a record without an image. InsightFace's tables are such records.",
        "record 0 of InsightFace's train.rec", UNPACK,
    ),
    "record-label-width": (
        "Readers reserve the manifest's label width for each label.",
        "train.json beside a train.rec that was copied over", AGAIN,
    ),
    "record-no-box": (
        "MXNet's ImageDetIter fails on it.", "an image that --negatives keep kept",
        f"without them: {CONVERT} --negatives drop --overwrite",
    ),
    "record-class": (
        "A trainer with as many outputs as classes crashes, or learns another class.",
        "class 20, and train.json has 20 classes, 0 to 19", AGAIN,
    ),
    "record-image": (
        "SageMaker's algorithms read nothing else.", "a gray JPEG that im2rec packed", REENCODE,
    ),
    "record-image-kind": (
        "SageMaker's image classification reads nothing else.", "a BMP in a record", REENCODE,
    ),
    "record-label-differs": (
        "The reader takes its label width from one number for the whole file.",
        "records for detection and for classification in one .rec", UNPACK,
    ),
    "face-table": (
        "In InsightFace's layout record 0 tells where the tables of the identities are.",
        "a train.rec that was merged or cut by another tool", FACES,
    ),
    "face-identity": (
        "The loss has one output for each identity, from 0.",
        "label 5, and property says 5 identities, 0 to 4", FACES,
    ),
    "face-size": (
        "The file property has one size for all.", "112 x 112, and one image of 96 x 112",
        f"bring them to one size: {CONVERT} --from identities --center-crop --resize 112",
    ),
    "record-magic": (
        "DALI looks for this word to find the next record, and stops in the middle of this one.",
        "id 3470205706, which is 0xced7230a", "number them anew: recpack shuffle IN.rec OUT.rec",
    ),
    "record-differs": (
        "List and images are those of another version.",
        "recpack verify train.rec --against train.lst images, after an image was replaced",
    ),
    "record-surplus": (
        "List and .rec are not of one run.", "a .rec of 100 records, a .lst of 99 rows",
    ),
    "record-missing": (
        "List and .rec are not of one run.", "a .rec of 99 records, a .lst of 100 rows",
    ),
    "id-repeated": (
        "It counts once. Two images with one id in COCO are an error: their objects are mixed.",
        "ImageSets/Main/train.txt with two rows 000012",
    ),
}  # fmt: skip
"""Code: why it matters and what is done; an example; remedies beyond that of the catalogue."""
