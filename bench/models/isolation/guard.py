"""Run a method on a pipeline: what it may change, what is put back behind it, and what it is refused for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import UserError, is_own
from ..generators import denoiser_name
from .patches import Patches
from .process import keep_process
from .state import find_changes, read_state
from .time_limit import TimeIsUp, shielded


class Watch:
    """Knows what a pipeline and the libraries were before a method ran. fault: what was found first."""

    def __init__(self, pipeline: Any, method: str) -> None:
        self.pipeline, self.method = pipeline, method
        self.denoiser = denoiser_name(pipeline)
        self.patches = Patches(pipeline)
        self.before = read_state(pipeline)
        self.fault: Exception | None = None

    def refuse(self, fault: Exception) -> None:
        """Raise a fault, and keep it: a method that catches it is refused all the same."""
        self.fault = self.fault or fault
        raise fault

    def check(self, when: str) -> None:
        """Raise UserError where the method changed more than the weights of the denoiser."""
        changes = find_changes(self.before, read_state(self.pipeline)) + self.patches.find()
        if changes:
            self.refuse(self._error(changes, when))

    def _error(self, changes: list[str], when: str) -> UserError:
        return UserError(
            f"method {self.method}: {when} it had changed {'; '.join(changes[:4])}, which it does not "
            f"declare (REGISTER: trains): a point holds the weights of the {self.denoiser} alone; change "
            "nothing else, or put it back before save"
        )

    def put_back(self) -> None:
        """Put the libraries' functions back; raises UserError where the method had replaced one."""
        replaced = self.patches.put_back()
        if replaced:
            self.refuse(self._error(replaced, "when it ended"))


@contextmanager
def guarded(pipeline: Any, method: str, seed: int) -> Iterator[Watch]:
    """Run a method inside, of which nothing but the pipeline's weights outlives the end.

    Raises UserError where it changed more than it declares, RuntimeError where it wanted to end the process.
    """
    watch = Watch(pipeline, method)
    try:
        with keep_process(seed):
            yield watch
    except BaseException as error:
        with shielded():
            watch.patches.put_back()
        if isinstance(error, Exception | KeyboardInterrupt | TimeIsUp) or is_own(error):
            raise watch.fault or error from None
        raise RuntimeError(f"method {method}: ended with {type(error).__name__}({error})") from error
    with shielded():
        watch.put_back()
    if watch.fault is not None:
        raise watch.fault
    watch.check("when it ended")
