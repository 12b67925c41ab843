"""The containers, by region: the built-in algorithms', and AWS's PyTorch.

Source: ``image_uris.retrieve("object-detection", region)`` (``"image-classification"`` has the same
accounts) and ``("pytorch", region, …)`` of the official SDK; a test compares the tables with it.
"""

from __future__ import annotations

import warnings

from .errors import SpecError
from .kinds import REPOSITORIES, Kind
from .machines import has_gpu

ACCOUNTS = {
    "af-south-1": "455444449433", "ap-east-1": "286214385809", "ap-northeast-1": "501404015308",
    "ap-northeast-2": "306986355934", "ap-northeast-3": "867004704886",
    "ap-south-1": "991648021394", "ap-south-2": "628508329040", "ap-southeast-1": "475088953585",
    "ap-southeast-2": "544295431143", "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589", "ca-central-1": "469771592824", "ca-west-1": "190319476487",
    "cn-north-1": "390948362332", "cn-northwest-1": "387376663083",
    "eu-central-1": "813361260812", "eu-central-2": "680994064768", "eu-north-1": "669576153137",
    "eu-south-1": "257386234256", "eu-south-2": "104374241257", "eu-west-1": "685385470294",
    "eu-west-2": "644912444149", "eu-west-3": "749696950732", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "249704162688", "sa-east-1": "855470959533",
    "us-east-1": "811284229777", "us-east-2": "825641698319", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700", "us-iso-east-1": "490574956308",
    "us-isob-east-1": "765400339828", "us-isof-east-1": "108575199400",
    "us-isof-south-1": "124985052026", "us-west-1": "632365934929", "us-west-2": "433757028032",
}  # fmt: skip

PYTORCH_VERSION, PYTORCH_PYTHON = "2.8.0", "py312"
"""The container that recpack's own algorithm is run in."""

PYTORCH_ACCOUNTS = dict.fromkeys([
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
    "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
], "763104351884") | {
    "af-south-1": "626614931356", "ap-east-1": "871362719292", "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360", "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896", "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462", "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437", "ca-west-1": "204538143572", "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807", "eu-central-2": "380420809688",
    "eu-south-1": "692866216735", "eu-south-2": "503227376785", "il-central-1": "780543022126",
    "me-central-1": "914824155844", "me-south-1": "217643126080", "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412", "us-gov-west-1": "442386744353",
}  # fmt: skip

_SUFFIXES = {"cn": "amazonaws.com.cn", "us-iso": "c2s.ic.gov", "us-isob": "sc2s.sgov.gov",
             "us-isof": "csp.hci.ic.gov"}  # fmt: skip


def image_uri(region: str, kind: Kind = "detection") -> str:
    """The URI of an algorithm's container. Raises SpecError when the region does not have it."""
    repository = REPOSITORIES[kind]
    if region not in ACCOUNTS:
        raise SpecError(
            f"region: {region} has no {repository.replace('-', ' ')}; give the image, or use one "
            f"of {', '.join(sorted(ACCOUNTS))}"
        )
    return f"{_registry(ACCOUNTS[region], region)}/{repository}:1"


def pytorch_image_uri(region: str, instance_type: str) -> str:
    """The URI of AWS's PyTorch container for a machine with a GPU or without. Raises SpecError when
    the region does not have it."""
    if region not in PYTORCH_ACCOUNTS:
        raise SpecError(
            f"region: {region} has no PyTorch container that is known here; give the image, or use "
            f"one of {', '.join(sorted(PYTORCH_ACCOUNTS))}"
        )
    tag = f"{PYTORCH_VERSION}-{'gpu' if has_gpu(instance_type) else 'cpu'}-{PYTORCH_PYTHON}"
    return f"{_registry(PYTORCH_ACCOUNTS[region], region)}/pytorch-training:{tag}"


def inference_image(image: str | None, region: str, kind: Kind | None, *, ours: bool) -> str:
    """The container to host a model in: the built-in algorithm's where none is given, that of
    object detection where nobody knows the kind. A warning for a model that recpack's own algorithm
    trained."""
    if image is None and ours:
        warnings.warn(
            "the model is of recpack's own training: its files are such as the built-in algorithm "
            "writes, but its container has not been tried with them; if the endpoint does not "
            "come up, give --image with one made from recpack's Dockerfile, or use deploy --local",
            stacklevel=3,
        )
    return image or image_uri(region, kind or "detection")


def _registry(account: str, region: str) -> str:
    suffix = _SUFFIXES.get(region.rsplit("-", 2)[0], "amazonaws.com")
    return f"{account}.dkr.ecr.{region}.{suffix}"
