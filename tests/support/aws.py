"""SageMaker, its logs and its roles, with a state: names that exist, work in progress that can't be
deleted, answers that come late, faults at any call; and a small S3, where no other is named.

What it does follows the API reference and messages of the real service. A request that the
service's model forbids is refused, as there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from typing import Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.support.botomodel import faults

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Training"
NOW = 1_790_000_000.0
Answer = dict[str, Any]

THROTTLED = ("ThrottlingException", 400, "Rate exceeded")
EXPIRED = ("ExpiredTokenException", 403, "The security token included in the request is expired")
DENIED = ("AccessDeniedException", 403, "User is not authorized to perform this action")
BROKEN = ("InternalFailure", 500, "The request processing has failed")


class Refusal(Exception):
    """An error of the service: its code, HTTP status and message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class Fault:
    """What happens to a call: an ``error`` before or after it took effect, or a lost ``None``
    answer (the connection ends)."""

    error: tuple[str, int, str] | None
    when: Literal["before", "after"] = "before"


Plan = Callable[[str, int], Fault | None]
"""The fault of an operation's call, by its name and the number of the call (all calls counted)."""


@dataclass
class Aws:
    """The state, and what is to come.

    ``polls``: descriptions until what was begun is done · ``hidden``: descriptions of a new thing
    that say it is not there yet · ``reason``: of a failure of endpoints and jobs · ``phase``: of a
    job that has ended, where it is not its state · ``logs``: each stream's lines, or (time, line) ·
    ``objects`` of S3 by ``bucket/key`` · ``invocations`` by endpoint, for CloudWatch · ``prices``:
    products of the price list · ``decision``: of IAM about a role · ``domain``: what Studio's
    descriptions say · ``plan``: the faults.
    """

    models: dict[str, Answer] = field(default_factory=dict)
    configs: dict[str, Answer] = field(default_factory=dict)
    endpoints: dict[str, Answer] = field(default_factory=dict)
    jobs: dict[str, Answer] = field(default_factory=dict)
    tunings: dict[str, Answer] = field(default_factory=dict)
    transforms: dict[str, Answer] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    invocations: dict[str, float] = field(default_factory=dict)
    prices: list[Answer] = field(default_factory=list)
    logs: dict[str, list[Any]] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)
    calls: list[tuple[str, Answer]] = field(default_factory=list)
    polls: int = 2
    hidden: int = 0
    reason: str = ""
    end: str = "Completed"
    phase: str = ""
    decision: str = ""
    caller: str = "assumed-role/Training/session"
    trusted: str = "sagemaker.amazonaws.com"
    domain: Answer = field(default_factory=dict)
    plan: Plan = lambda _operation, _number: None
    page: int = 100
    url: str = ""
    _left: Counter[str] = field(default_factory=Counter)
    _lock: Any = field(default_factory=RLock)

    def holds(self) -> dict[str, set[str]]:
        """The names of what is there."""
        kinds = {"models": self.models, "configs": self.configs, "endpoints": self.endpoints}
        return {kind: set(names) for kind, names in kinds.items()}

    def settle(self) -> None:
        """Time passes: what was made before can be seen."""
        self._left.clear()

    def asked(self, operation: str) -> list[Answer]:
        """The requests of an operation so far."""
        return [request for name, request in self.calls if name == operation]

    def serve(self, operation: str, request: Answer) -> Answer:
        """Do one call. Raises Refusal, ConnectionError for a lost answer."""
        with self._lock:
            number = len(self.calls)
            self.calls.append((operation, request))
            fault = self.plan(operation, number)
            if fault is not None and fault.when == "before":
                raise _failure(fault)
            handler = getattr(self, "_" + _snake(operation), None)
            if handler is None:
                raise Refusal("UnknownOperationException", operation)
            if _OF_SAGEMAKER.fullmatch(operation) and (
                wrong := faults("sagemaker", operation, request)
            ):
                raise Refusal("ValidationException", "; ".join(wrong))
            answer: Answer = handler(request)
            if fault is not None:
                raise _failure(fault)
            return answer

    # ---- models, configurations, endpoints

    def _create_model(self, request: Answer) -> Answer:
        return self._create("model", self.models, request["ModelName"], request)

    def _create_endpoint_config(self, request: Answer) -> Answer:
        for variant in request["ProductionVariants"]:
            self._find("model", self.models, variant["ModelName"])
        name = request["EndpointConfigName"]
        return self._create("endpoint configuration", self.configs, name, request)

    def _create_endpoint(self, request: Answer) -> Answer:
        self._find("endpoint configuration", self.configs, request["EndpointConfigName"])
        name = request["EndpointName"]
        answer = self._create("endpoint", self.endpoints, name, request)
        self._begin(self.endpoints[name], "Creating")
        return answer

    def _update_endpoint(self, request: Answer) -> Answer:
        endpoint = self._find("endpoint", self.endpoints, request["EndpointName"])
        self._find("endpoint configuration", self.configs, request["EndpointConfigName"])
        self._demand_done(endpoint)
        endpoint["next"] = request["EndpointConfigName"]
        self._begin(endpoint, "Updating")
        return {"EndpointArn": _arn("endpoint", request["EndpointName"])}

    def _describe_model(self, request: Answer) -> Answer:
        return self._shown("model", self.models, request["ModelName"])

    def _describe_endpoint_config(self, request: Answer) -> Answer:
        return self._shown("endpoint configuration", self.configs, request["EndpointConfigName"])

    def _describe_endpoint(self, request: Answer) -> Answer:
        name = request["EndpointName"]
        endpoint = self._shown("endpoint", self.endpoints, name)
        self._step(endpoint)
        self._find("endpoint", self.endpoints, name)  # it can be deleted now
        shown = {name: value for name, value in endpoint.items() if name[0].isupper()}
        if "next" in endpoint:
            shown["PendingDeploymentSummary"] = {"EndpointConfigName": endpoint["next"]}
        return shown

    def _delete_endpoint(self, request: Answer) -> Answer:
        endpoint = self._find("endpoint", self.endpoints, request["EndpointName"])
        self._demand_done(endpoint)
        self._begin(endpoint, "Deleting")
        return {}

    def _delete_endpoint_config(self, request: Answer) -> Answer:
        name = request["EndpointConfigName"]
        self._find("endpoint configuration", self.configs, name)
        del self.configs[name]
        return {}

    def _delete_model(self, request: Answer) -> Answer:
        self._find("model", self.models, request["ModelName"])
        del self.models[request["ModelName"]]
        return {}

    def _list_endpoints(self, request: Answer) -> Answer:
        return self._listed("Endpoints", "Endpoint", self.endpoints, request)

    def _list_endpoint_configs(self, request: Answer) -> Answer:
        return self._listed("EndpointConfigs", "EndpointConfig", self.configs, request)

    def _list_models(self, request: Answer) -> Answer:
        return self._listed("Models", "Model", self.models, request)

    def _invoke_endpoint(self, request: Answer) -> Answer:
        endpoint = self.endpoints.get(request["EndpointName"])
        if endpoint is None or endpoint["EndpointStatus"] == "Creating":
            raise Refusal(
                "ValidationError",
                f"Endpoint {request['EndpointName']} of account {ACCOUNT} not found.",
            )
        return {"body": self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]}

    def _invoke_endpoint_async(self, request: Answer) -> Answer:
        answer = self._invoke_endpoint(request)["body"]
        config = self.configs[self.endpoints[request["EndpointName"]]["EndpointConfigName"]]
        if "AsyncInferenceConfig" not in config:
            raise Refusal("ValidationError", "Endpoint is not asynchronous")
        self._object(request["InputLocation"].removeprefix("s3://"))
        output = config["AsyncInferenceConfig"]["OutputConfig"]
        name = f"{len(self.calls)}.out"
        places = {"Output": f"{output['S3OutputPath']}{name}",
                  "Failure": f"{output['S3FailurePath']}{name}"}  # fmt: skip
        made = places["Failure" if self.reason else "Output"].removeprefix("s3://")
        self.objects[made] = self.reason.encode() or answer
        self._left["object " + made] = self.polls
        return {"headers": {f"X-Amzn-SageMaker-{kind}Location": place
                            for kind, place in places.items()}}  # fmt: skip

    def _get_metric_statistics(self, request: Answer) -> Answer:
        points = [calls for name, calls in self.invocations.items() if f"'{name}'" in str(request)]
        if "Action" in request:  # as older versions of botocore ask
            rows = "".join(f"<member><Sum>{point}</Sum></member>" for point in points)
            return {"xml": f"<Datapoints>{rows}</Datapoints>"}
        return {"Datapoints": [{"Sum": point} for point in points]}

    def _get_products(self, request: Answer) -> Answer:
        wanted = {one["Field"]: one["Value"] for one in request["Filters"]}
        found = [one for one in self.prices
                 if wanted.items() <= one["product"]["attributes"].items()]  # fmt: skip
        return {"PriceList": [json.dumps(one) for one in found], "FormatVersion": "aws_v1"}

    # ---- S3

    def _object(self, key: str) -> bytes:
        if key not in self.objects or self._is_hidden("object " + key):
            raise Refusal("NoSuchKey", "The specified key does not exist.", 404)
        return self.objects[key]

    def _head_bucket(self, request: Answer) -> Answer:
        if not any(key.startswith(request["Bucket"] + "/") for key in self.objects):
            raise Refusal("404", "Not Found", 404)
        return {"headers": {"x-amz-bucket-region": REGION}}

    def _head_object(self, request: Answer) -> Answer:
        found = self._object(f"{request['Bucket']}/{request['Key']}")
        return {"headers": {"Content-Length": str(len(found)), "ETag": '"1"',
                            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}}  # fmt: skip

    def _get_object(self, request: Answer) -> Answer:
        found = self._object(f"{request['Bucket']}/{request['Key']}")
        if not request.get("Range"):
            return {"body": found}
        first, last = map(int, request["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(found) - 1)
        span = f"bytes {first}-{last}/{len(found)}"
        return {"body": found[first : last + 1], "headers": {"Content-Range": span}}

    def _put_object(self, request: Answer) -> Answer:
        key = f"{request['Bucket']}/{request['Key']}"
        if request.get("IfNoneMatch") == "*" and key in self.objects:
            raise Refusal("PreconditionFailed", "At least one precondition did not hold", 412)
        self.objects[key] = request["Body"]
        return {}

    def _delete_object(self, request: Answer) -> Answer:
        self.objects.pop(f"{request['Bucket']}/{request['Key']}", None)
        return {}

    def _list_objects_v2(self, request: Answer) -> Answer:
        start = f"{request['Bucket']}/{request.get('prefix', '')}"
        rows = "".join(
            f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(body)}</Size>"
            "</Contents>"
            for key, body in sorted(self.objects.items()) if key.startswith(start)
        )  # fmt: skip
        return {"body": f"<ListBucketResult>{rows}</ListBucketResult>".encode()}

    # ---- jobs

    def _create_training_job(self, request: Answer) -> Answer:
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise Refusal(
                "ResourceInUse",
                "Training job names must be unique within an AWS account and region, and a "
                f"training job with this name already exists ({_arn('training-job', name)})",
            )
        output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        self.jobs[name] = request | {
            "TrainingJobArn": _arn("training-job", name),
            "CreationTime": NOW + len(self.calls),
            "ModelArtifacts": {"S3ModelArtifacts": ""},
            "model": f"{output}/{name}/output/model.tar.gz",
        }
        self._left["training-job " + name] = self.hidden
        self._begin(self.jobs[name], "InProgress")
        return {"TrainingJobArn": _arn("training-job", name)}

    def _describe_training_job(self, request: Answer) -> Answer:
        name = request["TrainingJobName"]
        job = self.jobs.get(name)
        if job is None or self._is_hidden("training-job " + name):
            raise Refusal("ValidationException", "Requested resource not found.")
        self._step(job)
        return {name: value for name, value in job.items() if name[0].isupper()}

    def _stop_training_job(self, request: Answer) -> Answer:
        job = self.jobs.get(request["TrainingJobName"])
        if job is None:
            raise Refusal("ValidationException", "Requested resource not found.")
        if job["TrainingJobStatus"] != "InProgress":
            state = job["TrainingJobStatus"]
            raise Refusal(
                "ValidationException",
                f"The request was rejected because the training job is in status {state}.",
            )
        self._begin(job, "Stopping")
        return {}

    def _list_training_jobs(self, request: Answer) -> Answer:
        found = {name: job for name, job in self.jobs.items()
                 if request.get("NameContains", "") in name}  # fmt: skip
        return self._listed("TrainingJobSummaries", "TrainingJob", found, request)

    def _list_hyper_parameter_tuning_jobs(self, request: Answer) -> Answer:
        kind = "HyperParameterTuningJob"
        return self._listed(f"{kind}Summaries", kind, self.tunings, request)

    def _list_transform_jobs(self, request: Answer) -> Answer:
        return self._listed("TransformJobSummaries", "TransformJob", self.transforms, request)

    def _create_hyper_parameter_tuning_job(self, request: Answer) -> Answer:
        name = request["HyperParameterTuningJobName"]
        if name in self.tunings:
            raise Refusal("ResourceInUse", "Tuning job names must be unique")
        self.tunings[name] = request | {"CreationTime": NOW + len(self.calls)}
        self._begin(self.tunings[name], "InProgress")
        return {"HyperParameterTuningJobArn": _arn("hyper-parameter-tuning-job", name)}

    def _describe_hyper_parameter_tuning_job(self, request: Answer) -> Answer:
        name = request["HyperParameterTuningJobName"]
        tuning = self.tunings.get(name)
        if tuning is None:
            raise Refusal("ResourceNotFound", "Amazon SageMaker can't find a tuning job")
        self._step(tuning)
        if (
            tuning["HyperParameterTuningJobStatus"] == "Completed"
            and "BestTrainingJob" not in tuning
        ):
            self._tuned(name, tuning)
        return {name: value for name, value in tuning.items() if name[0].isupper()}

    def _tuned(self, name: str, tuning: Answer) -> None:
        """Its one job, which has ended."""
        job, definition = f"{name}-001-0a1b2c3d", tuning["TrainingJobDefinition"]
        self._create_training_job(definition | {"TrainingJobName": job})
        self.jobs[job]["left"] = 0
        self._step(self.jobs[job])
        config = tuning["HyperParameterTuningJobConfig"]
        ranges, objective = config["ParameterRanges"], config["HyperParameterTuningJobObjective"]
        tuned = {
            one["Name"]: one.get("MinValue") or one["Values"][0]
            for several in ranges.values() for one in several
        }  # fmt: skip
        self.jobs[job]["HyperParameters"] = definition["StaticHyperParameters"] | tuned
        tuning["TrainingJobStatusCounters"] = {"Completed": 1}
        tuning["BestTrainingJob"] = {
            "TrainingJobName": job, "TrainingJobArn": _arn("training-job", job),
            "CreationTime": NOW, "TrainingJobStatus": "Completed", "TunedHyperParameters": tuned,
            "FinalHyperParameterTuningJobObjectiveMetric": {
                "MetricName": objective["MetricName"], "Value": 0.5,
            },
        }  # fmt: skip

    def _stop_hyper_parameter_tuning_job(self, request: Answer) -> Answer:
        self._begin(self.tunings[request["HyperParameterTuningJobName"]], "Stopping")
        return {}

    def _create_transform_job(self, request: Answer) -> Answer:
        name = request["TransformJobName"]
        if name in self.transforms:
            raise Refusal("ResourceInUse", "Job name must be unique within an AWS account")
        self._find("model", self.models, request["ModelName"])
        self.transforms[name] = request | {"CreationTime": NOW + len(self.calls)}
        self._left["transform-job " + name] = self.hidden
        self._begin(self.transforms[name], "InProgress")
        return {"TransformJobArn": _arn("transform-job", name)}

    def _describe_transform_job(self, request: Answer) -> Answer:
        job = self.transforms.get(request["TransformJobName"])
        if job is None or self._is_hidden("transform-job " + request["TransformJobName"]):
            raise Refusal("ValidationException", "Requested resource not found.")
        self._step(job)
        if job["TransformJobStatus"] == "Completed":
            self._transformed(job)
        return {name: value for name, value in job.items() if name[0].isupper()}

    def _stop_transform_job(self, request: Answer) -> Answer:
        job = self.transforms.get(request["TransformJobName"])
        if job is None:
            raise Refusal("ValidationException", "Requested resource not found.")
        if job["TransformJobStatus"] != "InProgress":
            raise Refusal("ValidationException", "The transform job is not in progress.")
        self._begin(job, "Stopping")
        return {}

    def _transformed(self, job: Answer) -> None:
        """The answer for each image of a job that has ended."""
        source = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"][len("s3://") :]
        output = job["TransformOutput"]["S3OutputPath"][len("s3://") :]
        for key in [key for key in self.objects if key.startswith(source)]:
            self.objects[f"{output}{key[len(source) :]}.out"] = self.answers[0]

    # ---- logs, roles

    def _describe_log_streams(self, request: Answer) -> Answer:
        prefix = request.get("logStreamNamePrefix", "")
        found = sorted(name for name in self.logs if name.startswith(prefix))
        if not found:
            raise Refusal("ResourceNotFoundException", "The specified log group does not exist.")
        start = int(request.get("nextToken", 0))
        answer: Answer = {
            "logStreams": [{"logStreamName": name} for name in found[start : start + self.page]]
        }
        if start + self.page < len(found):
            answer["nextToken"] = str(start + self.page)
        return answer

    def _get_log_events(self, request: Answer) -> Answer:
        lines = [
            (int(NOW), line) if isinstance(line, str) else line
            for line in self.logs[request["logStreamName"]]
        ]
        start = int(request.get("nextToken", "f/0").partition("/")[2])
        page = lines[start : start + self.page]
        return {
            "events": [{"message": line, "timestamp": time} for time, line in page],
            "nextForwardToken": f"f/{start + len(page)}",
            "nextBackwardToken": "b/0",
        }

    def _get_role(self, request: Answer) -> Answer:
        trust = quote(json.dumps({"Principal": {"Service": self.trusted}}))
        return {"xml": f"<Role><Arn>arn:aws:iam::{ACCOUNT}:role/{request['RoleName']}</Arn>"
                       f"<AssumeRolePolicyDocument>{trust}</AssumeRolePolicyDocument>"
                       f"<RoleName>{request['RoleName']}</RoleName></Role>"}  # fmt: skip

    def _simulate_principal_policy(self, request: Answer) -> Answer:
        del request
        if not self.decision:
            raise Refusal("AccessDenied", "not authorized to perform: iam:SimulatePrincipalPolicy")
        return {"xml": "<EvaluationResults><member><EvalActionName>s3:PutObject</EvalActionName>"
                       f"<EvalDecision>{self.decision}</EvalDecision></member>"
                       "</EvaluationResults>"}  # fmt: skip

    def _describe_domain(self, request: Answer) -> Answer:
        return {"DomainId": request["DomainId"]} | self.domain

    def _describe_user_profile(self, request: Answer) -> Answer:
        return {"DomainId": request["DomainId"]} | self.domain

    def _describe_notebook_instance(self, request: Answer) -> Answer:
        return {"NotebookInstanceName": request["NotebookInstanceName"]} | self.domain

    def _get_caller_identity(self, request: Answer) -> Answer:
        del request
        arn = f"arn:aws:sts::{ACCOUNT}:{self.caller}"
        return {"xml": f"<Arn>{arn}</Arn><UserId>x</UserId><Account>{ACCOUNT}</Account>"}

    # ---- what all of them do

    def _create(self, kind: str, into: dict[str, Answer], name: str, request: Answer) -> Answer:
        arn = _arn(kind, name)
        if name in into:
            raise Refusal("ValidationException", f'Cannot create already existing {kind} "{arn}".')
        key = "".join(part.capitalize() for part in kind.split())
        key = key.replace("Configuration", "Config") + "Arn"
        into[name] = request | {key: arn, "CreationTime": NOW + len(self.calls)}
        self._left[f"{kind} {name}"] = self.hidden
        return {key: arn}

    def _find(self, kind: str, among: dict[str, Answer], name: str) -> Answer:
        if name not in among:
            raise Refusal("ValidationException", f'Could not find {kind} "{_arn(kind, name)}".')
        return among[name]

    def _shown(self, kind: str, among: dict[str, Answer], name: str) -> Answer:
        found = self._find(kind, among, name)
        if self._is_hidden(f"{kind} {name}"):
            raise Refusal("ValidationException", f'Could not find {kind} "{_arn(kind, name)}".')
        return found

    def _is_hidden(self, key: str) -> bool:
        self._left[key] -= 1
        return self._left[key] >= 0

    def _listed(self, key: str, kind: str, found: dict[str, Answer], request: Answer) -> Answer:
        ordered = sorted(
            (name for name in found if request.get("NameContains", "") in name),
            key=lambda name: -found[name]["CreationTime"],
        )
        start = int(request.get("NextToken", 0))
        names = ordered[start : start + min(self.page, request.get("MaxResults", 100))]
        shown = [
            {f"{kind}Name": name, f"{kind}Arn": _arn(kind.lower(), name)}
            | {part: value for part, value in found[name].items()
               if part in ("CreationTime", "LastModifiedTime", f"{kind}Status")}
            for name in names
        ]  # fmt: skip
        answer: Answer = {key: shown}
        if start + len(names) < len(ordered):
            answer["NextToken"] = str(start + len(names))
        return answer

    def _begin(self, one: Answer, state: str) -> None:
        one["left"] = self.polls
        one["LastModifiedTime"] = NOW + len(self.calls)
        self._set(one, state)

    def _set(self, one: Answer, state: str) -> None:
        for kind in ("Endpoint", "TrainingJob", "TransformJob", "HyperParameterTuningJob"):
            if f"{kind}Name" in one:
                one[f"{kind}Status"] = state
        if "TrainingJobName" in one:
            one["SecondaryStatus"] = {"InProgress": "Starting"}.get(state, state)

    def _demand_done(self, endpoint: Answer) -> None:
        if endpoint["EndpointStatus"].endswith("ing"):
            arn = _arn("endpoint", endpoint["EndpointName"])
            raise Refusal("ValidationException", f'Cannot update in-progress endpoint "{arn}".')

    def _step(self, one: Answer) -> None:
        """One description nearer to the end of what was begun."""
        state = one.get("EndpointStatus") or one.get("TrainingJobStatus")
        state = state or one.get("HyperParameterTuningJobStatus") or one["TransformJobStatus"]
        if not state.endswith(("ing", "InProgress")):
            return
        one["left"] -= 1
        if one["left"] >= 0:
            return
        if state == "Deleting":
            del self.endpoints[one["EndpointName"]]
        elif "EndpointName" in one:
            if self.reason and state == "Creating":
                one["FailureReason"] = self.reason
                self._set(one, "Failed")
            elif self.reason:  # an update that fails goes back
                one["FailureReason"] = self.reason
                del one["next"]
                self._set(one, "InService")
            else:
                one["EndpointConfigName"] = one.pop("next", one["EndpointConfigName"])
                self._set(one, "InService")
        else:
            end = "Stopped" if state == "Stopping" else self.end
            self._set(one, end)
            if self.reason:
                one["FailureReason"] = self.reason
            if self.phase and "TrainingJobName" in one:
                one["SecondaryStatus"] = self.phase
            if "TrainingJobName" in one and end != "Failed":
                one["ModelArtifacts"] = {"S3ModelArtifacts": one["model"]}


_OF_SAGEMAKER = re.compile("(Create|Update|Delete|Stop).*(Model|Endpoint|EndpointConfig|Job)")


def _failure(fault: Fault) -> Exception:
    if fault.error is None:
        return ConnectionError()
    code, status, message = fault.error
    return Refusal(code, message, status)


def _arn(kind: str, name: str) -> str:
    kind = kind.replace("endpoint configuration", "endpoint-config").replace(" ", "-")
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _snake(name: str) -> str:
    return re.sub("(?<!^)([A-Z])", r"_\1", name).lower()


class _Handler(BaseHTTPRequestHandler):
    aws: Aws

    def do_POST(self) -> None:
        from tests.support.aws_http import respond

        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            found = respond(self.aws, self.command, self.path, dict(self.headers), body)
        except ConnectionError:
            self.close_connection = True
            return
        self.send_response(found.status)
        for name, value in ({"Content-Length": str(len(found.body))} | found.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(found.body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(aws: Aws) -> Iterator[str]:
    """Its URL, for ``AWS_ENDPOINT_URL``."""
    handler = type("Handler", (_Handler,), {"aws": aws})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        aws.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield aws.url
        finally:
            server.shutdown()
