"""Problems of annotations: their files, boxes, objects and classes."""

from __future__ import annotations

from recpack.explanations.remedies import CONVERT, KEEP, LOOK, NAMES, SKIP

TEXTS: dict[str, tuple[str, ...]] = {
    "annotation-missing": (
        "An id of the image set names it. Without it nobody knows what is in the image.",
        "ImageSets/Main/train.txt: 000012, but there is no Annotations/000012.xml", KEEP, SKIP,
    ),
    "annotation-unused": (
        "A label without an image is often an image that was lost or renamed. It is left out.",
        "labels/train/a.txt, but no images/train/a.jpg",
    ),
    "annotation-unreadable": (
        "The operating system, the archive or the text's encoding refuses it; the value says why.",
        "Annotations/000012.xml that this user may not read: Permission denied",
        "for permissions: chmod a+r FILE", SKIP,
    ),
    "annotation-too-large": (
        "An annotation has some kilobytes. More than 16 MiB are another file under this name.",
        "Annotations/000012.xml of 2 GB, which is a video", SKIP,
    ),
    "annotation-malformed": (
        "A parser that guesses would invent boxes, so the file is refused.",
        "<annotation><object><name>dog</name>, cut off by a full disk", SKIP,
    ),
    "annotation-dtd": (
        "Entities can read other files of the machine, or fill its memory. No tool for annotations "
        "needs them.", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', SKIP,
    ),
    "annotation-not-voc": (
        "It is XML, but not of Pascal VOC: often the export of another tool.",
        "<annotations><image><box/></image></annotations>, as CVAT writes them", SKIP,
    ),
    "json-malformed": (
        "The value says where the text ends to be JSON, or which field is missing.",
        '{"file": "a.jpg", "annotations": [', SKIP,
    ),
    "row-malformed": (
        "A row of YOLO has a class and ratios of the image's width and height.",
        "labels/train/a.txt line 3: 0 0.5 0.5 0.2", SKIP,
    ),
    "keypoints-likely": (
        "Without kpt_shape in data.yaml nobody can tell keypoints from corners. Read as polygons, "
        "the boxes would be the bounds of the keypoints.",
        "0 0.5 0.5 0.2 0.2 0.45 0.48 0.55 0.48, and no kpt_shape",
        "if they are keypoints, write into data.yaml the kpt_shape that the value shows",
    ),
    "number-bad": (
        "A box with such an edge has no place in the image.",
        "<xmin>nan</xmin>, or <xmin>12,5</xmin> with a decimal comma", SKIP,
    ),
    "box-missing": (
        "A detector learns from boxes; an object without one would count as background.",
        "<object><name>dog</name></object>", SKIP,
    ),
    "box-from-polygon": (
        "The label is the smallest upright box around the outline.",
        '"segmentation": [[10, 10, 60, 12, 40, 50]] without "bbox"',
    ),
    "box-rotated": (
        "A label has upright boxes; one without its rotation lies beside the object.",
        "<robndbox> with <angle>0.78</angle>, as roLabelImg writes it", SKIP,
    ),
    "box-ratios": (
        "Pascal VOC and COCO have pixels. Taken as pixels, all boxes are in the first one.",
        "<xmin>0.25</xmin><xmax>0.75</xmax>", SKIP,
    ),
    "name-missing": (
        "An object without a class teaches nothing.", "<object><bndbox>…</bndbox></object>", SKIP,
    ),
    "labels-missing": (
        "YOLO writes no file for an image without objects. A file that was lost looks the same.",
        "images/train/a.jpg, but no labels/train/a.txt", KEEP,
    ),
    "object-nested": (
        "Readers of Pascal VOC don't see them, so they would be lost in silence.",
        "<annotation><objects><object>…</object></objects></annotation>", SKIP,
    ),
    "object-repeated": (
        "It was annotated twice, or two exports were joined. Both are kept, and count twice.",
        "two <object> dog with the same <bndbox>", LOOK,
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
        f"if it was scaled: {CONVERT} --size-mismatch rescale", SKIP,
    ),
    "box-inverted": (
        "Left and right, or top and bottom, changed places. They are swapped.",
        "<xmin>80</xmin><xmax>20</xmax>", f"drop such boxes: {CONVERT} --box-policy drop",
    ),
    "box-outside": (
        "The box is clipped at the image's edge. A pixel is rounding; many are another image.",
        "<xmax>510</xmax> in an image of 500 pixels",
        f"refuse such boxes: {CONVERT} --box-policy error", LOOK,
    ),
    "box-off-image": (
        "Nothing of the object is in the image. The box is dropped.",
        "<xmin>600</xmin><xmax>700</xmax> in an image of 500 pixels", LOOK,
    ),
    "box-empty": (
        "A click made the box, or rounding shrank it. It is dropped.",
        "<xmin>40</xmin><xmax>40</xmax>", LOOK,
    ),
    "box-cropped-away": (
        "With --center-crop only the square in the middle is kept.",
        "a box at the left edge of an image of 1000 x 500", f"keep all of the image: {CONVERT}",
    ),
    "box-pixels": (
        "Labels of RecordIO and rows of YOLO are ratios of the image, 0 to 1. Pixels there train a "
        "model that finds nothing.", "a row of YOLO: 0 320 240 100 80", SKIP,
    ),
    "label-scalar": (
        "A .lst is for detection or for classification, not for both.",
        "0  2 5 1 0.1 0.1 0.5 0.5  a.jpg, then 1  3  b.jpg",
    ),
    "class-unknown": (
        "The ids of the classes follow from the chosen names; another name has no id. The message "
        "says which known name is most similar.", "<name>person</name>, with --classes cat,dog",
        f"take all names of the data: {CONVERT} --classes auto",
        f"leave out such objects: {CONVERT} --unknown-class skip",
        f"if it is another word for a known class: {CONVERT} --classes person=human,car",
    ),
    "class-missing": (
        "COCO names the class of an object by its category_id.",
        '{"image_id": 7, "bbox": [10, 10, 50, 40]}', SKIP,
    ),
    "class-undefined": (
        "Without a name nobody knows what the model learns as this id.",
        "a row of YOLO with class 9, and 3 names in data.yaml", NAMES, SKIP,
    ),
    "class-placeholder": (
        "Roboflow writes a category 0 that all others name as their supercategory. As a class it "
        "would be one that no image has.", '"categories": [{"id": 0, "name": "animals"}, …]',
        NAMES,
    ),
    "label-failed": (
        "The line has a failure-reason instead of boxes.",
        '"labels-metadata": {"failure-reason": "…"}', SKIP,
    ),
    "class-count": (
        "One of both is wrong; with the wrong one, ids and names do not belong together.",
        "data.yaml: nc: 4 and names: [cat, dog, cow]", NAMES,
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
        "image,class in the first line, then cat, tabby.jpg,cat", SKIP,
    ),
    "column-unread": (
        "recpack reads the image, its set and its label; all else stays behind.",
        "image,class,photographer", "the columns that are read: recpack check DATASET",
    ),
    "class-similar": (
        "Two ids for one thing halve what the model learns of it.", "dog, Dog and 'dog '",
        f"make them one: {CONVERT} --classes dog=Dog,cat",
    ),
    "class-repeated": (
        "Ids follow from names, so equal names get one id.", "names: [cat, dog, cat]",
    ),
    "difficult-dropped": (
        "With --difficult drop, objects that are hard to see are left out.",
        "<difficult>1</difficult>", f"keep them: {CONVERT} --difficult keep",
        f"keep them, marked: {CONVERT} --difficult column",
    ),
    "no-objects": (
        "MXNet's detection readers fail on an image without a box, so it is dropped.",
        "an annotation whose only box was outside the image", KEEP,
    ),
}  # fmt: skip
"""Code: why it matters and what is done; an example; remedies beyond that of the catalogue."""
