"""Images that arrive together are detected together; one that comes alone does not wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

Detect = Callable[[Sequence[Any]], Sequence[Any]]
"""Images → an answer for each."""


class _Question(NamedTuple):
    image: Any
    answer: Future[Any]
    gone: Callable[[], bool] | None


class Batcher:
    """One thread that has the model. While it is busy, what arrives is gathered, and at most
    ``most`` images of it are the next batch."""

    def __init__(self, detect: Detect, most: int) -> None:
        self._detect, self._most = detect, most
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="detector", daemon=True)
        self._thread.start()

    def ask(self, image: Any, gone: Callable[[], bool] | None = None) -> Any:
        """The answer for one image, when it is there; raises what the model raised for it. An image
        whose client is ``gone`` by its turn is not detected, and its answer is an error."""
        question = _Question(image, Future(), gone)
        self._questions.put(question)
        return question.answer.result()

    def close(self) -> None:
        """End, once everything that was asked is answered."""
        self._questions.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            batch, ended = [question], False
            while len(batch) < self._most and not ended:
                try:
                    more = self._questions.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                else:
                    batch.append(more)
            self._answer([one for one in batch if not _is_gone(one)])
            if ended:
                return

    def _answer(self, batch: list[_Question]) -> None:
        try:
            answers = self._detect([one.image for one in batch]) if batch else []
            for one, answer in zip(batch, answers, strict=True):
                one.answer.set_result(answer)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:  # one of them is at fault, or all of them are too much
                self._answer([one])


def _is_gone(one: _Question) -> bool:
    if one.gone is None or not one.gone():
        return False
    one.answer.set_exception(ConnectionError("the client is gone"))
    return True
