"""Private names of other packages that recpack leans on. Where one has gone, this test says which,
before a run finds out."""

from __future__ import annotations

import importlib
import inspect

import cv2
import joblib
import pytest

from recpack.storage.s3.client import S3Client


def test_joblib_has_the_backend_of_dask() -> None:
    """``workers/dask.py`` inherits from it, and reads the futures that it keeps."""
    pytest.importorskip("distributed")
    backend = importlib.import_module("joblib._dask").DaskDistributedBackend
    for name in ("effective_n_jobs", "submit", "retrieve_result_callback", "abort_everything"):
        assert callable(getattr(backend, name)), f"joblib {joblib.__version__} has no {name}"
    assert "self._results" in inspect.getsource(backend)


def test_loky_has_the_switch_for_growing_workers() -> None:
    """``workers/through_joblib.py`` turns it off: loky ends workers that have grown."""
    executor = importlib.import_module("joblib.externals.loky.process_executor")
    assert isinstance(executor._USE_PSUTIL, bool)
    assert issubclass(executor.TerminatedWorkerError, Exception)
    utils = importlib.import_module("joblib.externals.loky.backend.utils")
    assert callable(utils._posix_recursive_kill)  # replaced where there is no pgrep


def test_botocore_asks_its_loader_for_the_services() -> None:
    """``storage/s3/client.py`` answers in its place, which saves 20 ms."""
    botocore = importlib.import_module("botocore.session")
    loader = botocore.Session().get_component("data_loader")
    assert "s3" in loader.list_available_services("service-2")
    client = S3Client("http://127.0.0.1:9").botocore()
    assert client.meta.service_model.service_name == "s3"


def test_torch_ends_its_workers_when_told() -> None:
    """``train/ssd/batches.py`` tells it; else they would end when the iterator is collected."""
    dataloader = pytest.importorskip("torch.utils.data.dataloader")
    assert callable(dataloader._MultiProcessingDataLoaderIter._shutdown_workers)


def test_waitress_has_the_channels_of_its_server() -> None:
    """``train/ssd/http_server.py`` ends them, and looks for slow ones."""
    pytest.importorskip("waitress")
    channel = importlib.import_module("waitress.channel").HTTPChannel
    for name in ("received", "readable", "handle_read", "handle_close", "error_task_class"):
        assert hasattr(channel, name)
    source = inspect.getsource(channel)
    for name in ("will_close", "total_outbufs_len", "requests", "request", "connected"):
        assert f"self.{name} = " in source or hasattr(channel, name)
    server = importlib.import_module("waitress.server").TcpWSGIServer
    assert callable(server.maintenance)
    assert "active_channels" in inspect.getsource(server.__mro__[1])
    execute = importlib.import_module("waitress.task").ErrorTask.execute
    assert "self.request.error" in inspect.getsource(execute)


def test_opencv_is_of_a_major_version_that_was_tried() -> None:
    assert cv2.__version__.split(".")[0] in ("4", "5")
