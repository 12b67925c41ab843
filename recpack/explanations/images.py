"""Problems of images, and of paths."""

from __future__ import annotations

from recpack.explanations.remedies import CONVERT, LOOK, SKIP

TEXTS: dict[str, tuple[str, ...]] = {
    "image-unlisted": (
        "An object whose image_id no image has would be lost in silence.",
        '"annotations": [{"image_id": 7, …}], but no image has "id": 7',
    ),
    "image-unclassified": (
        "In folders the folder is the class; in a table the row says it.",
        "train/cat/, train/dog/, and train/a.jpg beside them", SKIP,
    ),
    "image-missing": (
        "The list or the annotation names it. A renamed extension (.jpg, .JPG) is found; another "
        "name is not.", "<filename>a.jpg</filename>, but there is no JPEGImages/a.jpg",
        f"if the images are elsewhere: {CONVERT} --images DIR", SKIP,
    ),
    "image-unannotated": (
        "An image without a list is taken only with its annotation. It is left out.",
        "JPEGImages/a.jpg, but no Annotations/a.xml",
    ),
    "image-ambiguous": (
        "Their label has the name without the extension, so it could be that of both.",
        "JPEGImages/a.jpg and JPEGImages/a.png", SKIP,
    ),
    "image-unreadable": (
        "The operating system or the archive refuses it; the value says why.",
        "JPEGImages/a.jpg that this user may not read: Permission denied",
        "for permissions: chmod a+r FILE", SKIP,
    ),
    "image-unsupported": (
        "The kind is known, but this OpenCV was built without its decoder.",
        "a.gif, with a wheel of OpenCV before 4.12",
        "upgrade OpenCV: pip install -U opencv-python-headless", SKIP,
    ),
    "image-unknown": (
        "The first bytes are those of no image: often an error page saved as an image.",
        "a.jpg that begins with <html>", SKIP,
    ),
    "image-changed": (
        "Its size or time differs from when it was checked, so label and image may not fit.",
        "another program still copies into the folder", f"when it is done: {CONVERT}",
    ),
    "image-truncated": (
        "The end is missing, after a broken download or a full disk. Some readers show gray, "
        "others stop the training.", "a.jpg of 40 KB that had 90 KB", SKIP,
    ),
    "image-corrupt": (
        "The header is that of an image, the rest is not. It would stop the training.",
        "a.png whose middle was overwritten", SKIP,
    ),
    "image-too-large": (
        "More than 1 GiB, or than 268 million pixels, is a bomb or a whole map.",
        "map.png of 40,000 x 40,000 pixels", "cut it into tiles, with their boxes", SKIP,
    ),
    "image-converted": (
        "Readers expect a JPEG or PNG of 3 channels and 8 bits. Others are encoded anew.",
        "a gray JPEG, a PNG with alpha, a WebP, a TIFF",
        f"choose the encoding: {CONVERT} --encoding png",
    ),
    "image-unconverted": (
        "An augmented manifest names images where they are, so none can be changed.",
        "recpack convert DATASET x.manifest, with a gray JPEG",
        f"into a .rec, which has all images: {CONVERT}",
    ),
    "image-rotated": (
        "A camera held upright stores the pixels lying, with a note. Readers of records ignore "
        "the note, so the pixels are turned.", "a photograph of a phone, orientation 6", LOOK,
    ),
    "image-turned": (
        "A tool that ignored, or lost, the EXIF orientation. The boxes lie on other things.",
        "<size> 600 x 800, image 800 x 600, a box down to ymax 790", LOOK, SKIP,
    ),
    "image-duplicate": (
        "It counts twice in the training.", "a.jpg and copy_of_a.jpg", LOOK,
    ),
    "image-repeated": (
        "Which of the entries is right, nobody can tell, so objects would be lost.",
        "a.jpg in two annotations with different boxes", SKIP,
    ),
    "image-leaked": (
        "A model is measured on what it has learnt by heart: the result is too good.",
        "a.jpg in train and its copy b.jpg in val", "find all: recpack check DATASET --set all",
        f"split anew: {CONVERT} --split 0.8/0.2",
    ),
    "extension-wrong": (
        "recpack looks at the content; other programs believe the name.", "a.jpg that is a PNG",
    ),
    "path-unsafe": (
        "A data set of a stranger must not read other files of this machine.",
        "../../home/me/a.jpg in a list, or a link to another disk",
        f"if the links are your own: {CONVERT} --follow-links", SKIP,
    ),
    "path-ambiguous": (
        "The path as written is not there, and several images could be meant.",
        "a.jpg, and there are 2019/a.jpg and 2020/a.jpg",
        f"name the folder: {CONVERT} --images DIR", SKIP,
    ),
    "path-resolved": (
        "The data set was moved, or its paths are those of another machine.",
        "/home/ann/data/images/a.jpg, found as images/a.jpg",
    ),
    "filename-differs": (
        "A name that was copied, or an image that was renamed after annotation.",
        "Annotations/b.xml: <filename>a.jpg</filename>, with JPEGImages/b.jpg", LOOK,
    ),
    "set-missing": (
        "The data set names a set that is not there; the others are read.",
        "data.yaml: test: images/test, and there is no such folder",
        f"choose the sets: {CONVERT} --set train",
    ),
    "path-unlistable": (
        "Its columns end at tabs and its rows at line breaks; and it is UTF-8.",
        "an image's name that ends in a space, or has a tab", SKIP,
    ),
    "path-white-space": (
        "The .rec is right. Only readers of the .lst that split at white space fail.",
        "JPEGImages/my cat.jpg",
    ),
}  # fmt: skip
"""Code: why it matters and what is done; an example; remedies beyond that of the catalogue."""
