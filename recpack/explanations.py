"""What each problem code means, at length: for ``recpack explain`` and the page of the codes."""

from __future__ import annotations

from typing import NamedTuple

from recpack.problems import CATALOGUE


class Explanation(NamedTuple):
    """``meaning``: what it is, why it matters, what recpack does · ``example``: what causes it ·
    ``remedies``: what to do; a command stands at the end of its line, after a colon."""

    meaning: str
    example: str
    remedies: tuple[str, ...]


_CONVERT = "recpack convert DATASET OUT.rec"
_SKIP = f"leave out such files, and list them in OUT.quarantine.tsv: {_CONVERT} --on-error skip"
_LOOK = "see the images with their boxes: recpack check DATASET --report check.html"
_KEEP = f"keep such images as background: {_CONVERT} --negatives keep"
_NAMES = f"name the classes in the order of their ids: {_CONVERT} --classes cat,dog"
_REENCODE = f"encode every image anew: {_CONVERT} --reencode --overwrite"
_UNPACK = "make images and a list of it, to correct them: recpack unpack IN.rec DIR"
_AGAIN = f"make the file again: {_CONVERT} --overwrite"
_FACES = f"convert the folders again: {_CONVERT} --from identities --overwrite"

_TEXTS: dict[str, tuple[str, ...]] = {
    "annotation-missing": (
        "An id of the image set names it. Without it nobody knows what is in the image.",
        "ImageSets/Main/train.txt: 000012, but there is no Annotations/000012.xml", _KEEP, _SKIP,
    ),
    "annotation-unused": (
        "A label without an image is often an image that was lost or renamed. It is left out.",
        "labels/train/a.txt, but no images/train/a.jpg",
    ),
    "annotation-unreadable": (
        "The operating system, the archive or the text's encoding refuses it; the value says why.",
        "Annotations/000012.xml that this user may not read: Permission denied",
        "for permissions: chmod a+r FILE", _SKIP,
    ),
    "annotation-too-large": (
        "An annotation has some kilobytes. More than 16 MiB are another file under this name.",
        "Annotations/000012.xml of 2 GB, which is a video", _SKIP,
    ),
    "annotation-malformed": (
        "A parser that guesses would invent boxes, so the file is refused.",
        "<annotation><object><name>dog</name>, cut off by a full disk", _SKIP,
    ),
    "annotation-dtd": (
        "Entities can read other files of the machine, or fill its memory. No tool for annotations "
        "needs them.", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', _SKIP,
    ),
    "annotation-not-voc": (
        "It is XML, but not of Pascal VOC: often the export of another tool.",
        "<annotations><image><box/></image></annotations>, as CVAT writes them", _SKIP,
    ),
    "json-malformed": (
        "The value says where the text ends to be JSON, or which field is missing.",
        '{"file": "a.jpg", "annotations": [', _SKIP,
    ),
    "row-malformed": (
        "A row of YOLO has a class and ratios of the image's width and height.",
        "labels/train/a.txt line 3: 0 0.5 0.5 0.2", _SKIP,
    ),
    "keypoints-likely": (
        "Without kpt_shape in data.yaml nobody can tell keypoints from corners. Read as polygons, "
        "the boxes would be the bounds of the keypoints.",
        "0 0.5 0.5 0.2 0.2 0.45 0.48 0.55 0.48, and no kpt_shape",
        "if they are keypoints, write into data.yaml the kpt_shape that the value shows",
    ),
    "image-unlisted": (
        "An object whose image_id no image has would be lost in silence.",
        '"annotations": [{"image_id": 7, …}], but no image has "id": 7',
    ),
    "number-bad": (
        "A box with such an edge has no place in the image.",
        "<xmin>nan</xmin>, or <xmin>12,5</xmin> with a decimal comma", _SKIP,
    ),
    "box-missing": (
        "A detector learns from boxes; an object without one would count as background.",
        "<object><name>dog</name></object>", _SKIP,
    ),
    "box-from-polygon": (
        "The label is the smallest upright box around the outline.",
        '"segmentation": [[10, 10, 60, 12, 40, 50]] without "bbox"',
    ),
    "box-rotated": (
        "A label has upright boxes; one without its rotation lies beside the object.",
        "<robndbox> with <angle>0.78</angle>, as roLabelImg writes it", _SKIP,
    ),
    "box-ratios": (
        "Pascal VOC and COCO have pixels. Taken as pixels, all boxes are in the first one.",
        "<xmin>0.25</xmin><xmax>0.75</xmax>", _SKIP,
    ),
    "name-missing": (
        "An object without a class teaches nothing.", "<object><bndbox>…</bndbox></object>", _SKIP,
    ),
    "labels-missing": (
        "YOLO writes no file for an image without objects. A file that was lost looks the same.",
        "images/train/a.jpg, but no labels/train/a.txt", _KEEP,
    ),
    "object-nested": (
        "Readers of Pascal VOC don't see them, so they would be lost in silence.",
        "<annotation><objects><object>…</object></objects></annotation>", _SKIP,
    ),
    "object-repeated": (
        "It was annotated twice, or two exports were joined. Both are kept, and count twice.",
        "two <object> dog with the same <bndbox>", _LOOK,
    ),
    "flag-text": (
        "Pascal VOC writes 1 for a difficult object and 0 for others.", "<difficult>no</difficult>",
    ),
    "size-missing": (
        "The boxes are divided by the size, and the image itself is the better witness.",
        "<size><width>0</width><height>0</height></size>",
    ),
    "size-mismatch": (
        "The boxes fit the image, so only <size> is wrong.",
        "<width>640</width>, but the image has 500 pixels",
    ),
    "size-rescale": (
        "Scaled after annotation, the boxes can be scaled too; cropped, they are at another place. "
        "Only you know which it was.", "<size> 1000 x 750, image 500 x 375, a box up to xmax 900",
        f"if it was scaled: {_CONVERT} --size-mismatch rescale", _SKIP,
    ),
    "box-inverted": (
        "Left and right, or top and bottom, changed places. They are swapped.",
        "<xmin>80</xmin><xmax>20</xmax>", f"drop such boxes: {_CONVERT} --box-policy drop",
    ),
    "box-outside": (
        "The box is clipped at the image's edge. A pixel is rounding; many are another image.",
        "<xmax>510</xmax> in an image of 500 pixels",
        f"refuse such boxes: {_CONVERT} --box-policy error", _LOOK,
    ),
    "box-off-image": (
        "Nothing of the object is in the image. The box is dropped.",
        "<xmin>600</xmin><xmax>700</xmax> in an image of 500 pixels", _LOOK,
    ),
    "box-empty": (
        "A click made the box, or rounding shrank it. It is dropped.",
        "<xmin>40</xmin><xmax>40</xmax>", _LOOK,
    ),
    "box-cropped-away": (
        "With --center-crop only the square in the middle is kept.",
        "a box at the left edge of an image of 1000 x 500", f"keep all of the image: {_CONVERT}",
    ),
    "box-pixels": (
        "Labels of RecordIO and rows of YOLO are ratios of the image, 0 to 1. Pixels there train a "
        "model that finds nothing.", "a row of YOLO: 0 320 240 100 80", _SKIP,
    ),
    "label-scalar": (
        "A .lst is for detection or for classification, not for both.",
        "0  2 5 1 0.1 0.1 0.5 0.5  a.jpg, then 1  3  b.jpg",
    ),
    "class-unknown": (
        "The ids of the classes follow from the chosen names; another name has no id. The message "
        "says which known name is most similar.", "<name>person</name>, with --classes cat,dog",
        f"take all names of the data: {_CONVERT} --classes auto",
        f"leave out such objects: {_CONVERT} --unknown-class skip",
        f"if it is another word for a known class: {_CONVERT} --classes person=human,car",
    ),
    "class-missing": (
        "COCO names the class of an object by its category_id.",
        '{"image_id": 7, "bbox": [10, 10, 50, 40]}', _SKIP,
    ),
    "class-undefined": (
        "Without a name nobody knows what the model learns as this id.",
        "a row of YOLO with class 9, and 3 names in data.yaml", _NAMES, _SKIP,
    ),
    "class-placeholder": (
        "Roboflow writes a category 0 that all others name as their supercategory. As a class it "
        "would be one that no image has.", '"categories": [{"id": 0, "name": "animals"}, …]',
        _NAMES,
    ),
    "label-failed": (
        "The line has a failure-reason instead of boxes.",
        '"labels-metadata": {"failure-reason": "…"}', _SKIP,
    ),
    "class-count": (
        "One of both is wrong; with the wrong one, ids and names do not belong together.",
        "data.yaml: nc: 4 and names: [cat, dog, cow]", _NAMES,
    ),
    "image-unclassified": (
        "In folders the folder is the class; in a table the row says it.",
        "train/cat/, train/dog/, and train/a.jpg beside them", _SKIP,
    ),
    "class-absent": (
        "What a set has none of, it can't teach, or can't measure.",
        "train/dog/ has images, val/dog/ has none",
    ),
    "class-empty": (
        "With it, the ids of the classes after it would be one higher.",
        "train/new folder/ without an image",
    ),
    "table-row": (
        "The row has more or fewer values than the first line has headings.",
        "image,class in the first line, then cat, tabby.jpg,cat", _SKIP,
    ),
    "column-unread": (
        "recpack reads the image, its set and its label; all else stays behind.",
        "image,class,photographer", "the columns that are read: recpack check DATASET",
    ),
    "class-similar": (
        "Two ids for one thing halve what the model learns of it.", "dog, Dog and 'dog '",
        f"make them one: {_CONVERT} --classes dog=Dog,cat",
    ),
    "class-repeated": (
        "Ids follow from names, so equal names get one id.", "names: [cat, dog, cat]",
    ),
    "difficult-dropped": (
        "With --difficult drop, objects that are hard to see are left out.",
        "<difficult>1</difficult>", f"keep them: {_CONVERT} --difficult keep",
        f"keep them, marked: {_CONVERT} --difficult column",
    ),
    "no-objects": (
        "MXNet's detection readers fail on an image without a box, so it is dropped.",
        "an annotation whose only box was outside the image", _KEEP,
    ),
    "image-missing": (
        "The list or the annotation names it. A renamed extension (.jpg, .JPG) is found; another "
        "name is not.", "<filename>a.jpg</filename>, but there is no JPEGImages/a.jpg",
        f"if the images are elsewhere: {_CONVERT} --images DIR", _SKIP,
    ),
    "image-unannotated": (
        "An image without a list is taken only with its annotation. It is left out.",
        "JPEGImages/a.jpg, but no Annotations/a.xml",
    ),
    "image-ambiguous": (
        "Their label has the name without the extension, so it could be that of both.",
        "JPEGImages/a.jpg and JPEGImages/a.png", _SKIP,
    ),
    "image-unreadable": (
        "The operating system or the archive refuses it; the value says why.",
        "JPEGImages/a.jpg that this user may not read: Permission denied",
        "for permissions: chmod a+r FILE", _SKIP,
    ),
    "image-unsupported": (
        "The kind is known, but this OpenCV was built without its decoder.",
        "a.gif, with a wheel of OpenCV before 4.12",
        "upgrade OpenCV: pip install -U opencv-python-headless", _SKIP,
    ),
    "image-unknown": (
        "The first bytes are those of no image: often an error page saved as an image.",
        "a.jpg that begins with <html>", _SKIP,
    ),
    "image-changed": (
        "Its size or time differs from when it was checked, so label and image may not fit.",
        "another program still copies into the folder", f"when it is done: {_CONVERT}",
    ),
    "image-truncated": (
        "The end is missing, after a broken download or a full disk. Some readers show gray, "
        "others stop the training.", "a.jpg of 40 KB that had 90 KB", _SKIP,
    ),
    "image-corrupt": (
        "The header is that of an image, the rest is not. It would stop the training.",
        "a.png whose middle was overwritten", _SKIP,
    ),
    "image-too-large": (
        "More than 1 GiB, or than 268 million pixels, is a bomb or a whole map.",
        "map.png of 40,000 x 40,000 pixels", "cut it into tiles, with their boxes", _SKIP,
    ),
    "image-converted": (
        "Readers expect a JPEG or PNG of 3 channels and 8 bits. Others are encoded anew.",
        "a gray JPEG, a PNG with alpha, a WebP, a TIFF",
        f"choose the encoding: {_CONVERT} --encoding png",
    ),
    "image-unconverted": (
        "An augmented manifest names images where they are, so none can be changed.",
        "recpack convert DATASET x.manifest, with a gray JPEG",
        f"into a .rec, which has all images: {_CONVERT}",
    ),
    "image-rotated": (
        "A camera held upright stores the pixels lying, with a note. Readers of records ignore "
        "the note, so the pixels are turned.", "a photograph of a phone, orientation 6", _LOOK,
    ),
    "image-turned": (
        "A tool that ignored, or lost, the EXIF orientation. The boxes lie on other things.",
        "<size> 600 x 800, image 800 x 600, a box down to ymax 790", _LOOK, _SKIP,
    ),
    "image-duplicate": (
        "It counts twice in the training.", "a.jpg and copy_of_a.jpg", _LOOK,
    ),
    "image-repeated": (
        "Which of the entries is right, nobody can tell, so objects would be lost.",
        "a.jpg in two annotations with different boxes", _SKIP,
    ),
    "image-leaked": (
        "A model is measured on what it has learnt by heart: the result is too good.",
        "a.jpg in train and its copy b.jpg in val", "find all: recpack check DATASET --set all",
        f"split anew: {_CONVERT} --split 0.8/0.2",
    ),
    "extension-wrong": (
        "recpack looks at the content; other programs believe the name.", "a.jpg that is a PNG",
    ),
    "path-unsafe": (
        "A data set of a stranger must not read other files of this machine.",
        "../../home/me/a.jpg in a list, or a link to another disk",
        f"if the links are your own: {_CONVERT} --follow-links", _SKIP,
    ),
    "path-ambiguous": (
        "The path as written is not there, and several images could be meant.",
        "a.jpg, and there are 2019/a.jpg and 2020/a.jpg",
        f"name the folder: {_CONVERT} --images DIR", _SKIP,
    ),
    "path-resolved": (
        "The data set was moved, or its paths are those of another machine.",
        "/home/ann/data/images/a.jpg, found as images/a.jpg",
    ),
    "filename-differs": (
        "A name that was copied, or an image that was renamed after annotation.",
        "Annotations/b.xml: <filename>a.jpg</filename>, with JPEGImages/b.jpg", _LOOK,
    ),
    "set-missing": (
        "The data set names a set that is not there; the others are read.",
        "data.yaml: test: images/test, and there is no such folder",
        f"choose the sets: {_CONVERT} --set train",
    ),
    "path-unlistable": (
        "Its columns end at tabs and its rows at line breaks; and it is UTF-8.",
        "an image's name that ends in a space, or has a tab", _SKIP,
    ),
    "path-white-space": (
        "The .rec is right. Only readers of the .lst that split at white space fail.",
        "JPEGImages/my cat.jpg",
    ),
    "record-label": (
        "A detection label has widths, then a class and four edges for each object.",
        "a .rec for classification: recpack verify train.rec --reader mxnet",
        "if it is for classification: recpack verify IN.rec --reader image-classification",
    ),
    "record-empty": (
        "Readers stop at a record without an image. InsightFace's tables are such records.",
        "record 0 of InsightFace's train.rec", _UNPACK,
    ),
    "record-label-width": (
        "Readers reserve the manifest's label width for each label.",
        "train.json beside a train.rec that was copied over", _AGAIN,
    ),
    "record-no-box": (
        "MXNet's ImageDetIter fails on it.", "an image that --negatives keep kept",
        f"without them: {_CONVERT} --negatives drop --overwrite",
    ),
    "record-class": (
        "A trainer with as many outputs as classes crashes, or learns another class.",
        "class 20, and train.json has 20 classes, 0 to 19", _AGAIN,
    ),
    "record-image": (
        "SageMaker's algorithms read nothing else.", "a gray JPEG that im2rec packed", _REENCODE,
    ),
    "record-image-kind": (
        "SageMaker's image classification reads nothing else.", "a BMP in a record", _REENCODE,
    ),
    "record-label-differs": (
        "The reader takes its label width from one number for the whole file.",
        "records for detection and for classification in one .rec", _UNPACK,
    ),
    "face-table": (
        "In InsightFace's layout record 0 tells where the tables of the identities are.",
        "a train.rec that was merged or cut by another tool", _FACES,
    ),
    "face-identity": (
        "The loss has one output for each identity, from 0.",
        "label 5, and property says 5 identities, 0 to 4", _FACES,
    ),
    "face-size": (
        "The file property has one size for all.", "112 x 112, and one image of 96 x 112",
        f"bring them to one size: {_CONVERT} --from identities --center-crop --resize 112",
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


def _explanation(code: str) -> Explanation:
    why, example, *more = _TEXTS[code]
    what, remedy, _ = CATALOGUE[code]
    return Explanation(f"{what[0].upper()}{what[1:]}. {why}", example, (remedy, *more))


EXPLANATIONS: dict[str, Explanation] = {code: _explanation(code) for code in CATALOGUE}
