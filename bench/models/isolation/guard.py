"""Run a method on a pipeline: check what it changed, restore the rest, refuse undeclared changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import UserError, is_own
from .patches import Patches
from .process import keep_process
from .state import State, find_changes, read_state
from .time_limit import TimeIsUp, shielded


class Watch:
    """Knows the state of a pipeline and the libraries before a method ran. fault: the first one found.

    trains: components whose weights the method changes. acts: it may leave hooks and processors in place
    until it ends. before: the pipeline's known state; None = it is read. remedy: text on how to fix a refused
    change.
    """

    def __init__(
        self,
        pipeline: Any,
        method: str,
        trains: Sequence[str] = (),
        acts: bool = False,
        before: State | None = None,
    ) -> None:
        self.pipeline, self.method, self.trains, self.acts = pipeline, method, tuple(trains), acts
        self.patches = Patches(pipeline)
        self.before = read_state(pipeline, self.trains) if before is None else before
        self.fault: Exception | None = None
        self.remedy = (
            "which it does not declare (REGISTER: trains): a point of it holds the weights of "
            f"{', '.join(self.trains) or 'no network'}; declare it there, or put it back before save"
        )

    def refuse(self, fault: Exception) -> None:
        """Raise a fault, and keep it: a method that catches it is refused nevertheless."""
        self.fault = self.fault or fault
        raise fault

    def check(self, when: str, at_end: bool = True) -> None:
        """Raise UserError where the method changed more than the weights that it trains."""
        after = read_state(self.pipeline, self.trains)
        changes = find_changes(self.before, after, whole=at_end or not self.acts) + self.patches.find()
        if changes:
            self.refuse(self._error(changes, when))

    def _error(self, changes: list[str], when: str) -> UserError:
        found = "; ".join(changes[:4])
        return UserError(f"method {self.method}: {when} it had changed {found}, {self.remedy}")

    def put_back(self) -> None:
        """Restore the libraries' functions; raises UserError where the method had replaced one."""
        replaced = self.patches.put_back()
        if replaced:
            self.refuse(self._error(replaced, "when it ended"))


@contextmanager
def guarded(watch: Watch, seed: int) -> Iterator[Watch]:
    """Run a method inside; afterwards only the weights that it trains are changed.

    seed: of the global random generators. Raises UserError where it changed more than it declares,
    RuntimeError where it tried to end the process.
    """
    try:
        with keep_process(seed):
            yield watch
    except BaseException as error:
        with shielded():
            watch.patches.put_back()
        if isinstance(error, Exception | KeyboardInterrupt | TimeIsUp) or is_own(error):
            raise watch.fault or error from None
        raise RuntimeError(f"method {watch.method}: ended with {type(error).__name__}({error})") from error
    with shielded():
        watch.put_back()
    if watch.fault is not None:
        raise watch.fault
    watch.check("when it ended")
