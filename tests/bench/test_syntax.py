"""Keys change with what the code does, and with nothing else."""

import pytest

from unlearnbench.bench import source
from unlearnbench.bench.syntax import plain_source

BASE = '''"""A module."""

import math
from ..bench.types import Problem, Value
from .combine import add


class Config:
    """Settings."""

    rate: float = 0.1
    """The learning rate."""


def run(problem: Problem) -> float:
    """Return a number."""
    from ..bench.lazy import late

    # a comment
    return math.sqrt(add(late(problem), 2.0))
'''


def _plain(text: str) -> bytes:
    return plain_source(text.encode(), "unlearnbench")


SAME = {
    "comment": ("# a comment", "# another\n    # of two lines"),
    "docstring": ('"""Return a number."""', '"""Return the square root of a sum."""'),
    "no docstring": ('    """Return a number."""\n', ""),
    "attribute docstring": ('    """The learning rate."""\n', ""),
    "moved module": (
        "from ..bench.types import Problem, Value",
        "from ...bench.planning.nouns import Problem, Value",
    ),
    "split module": (
        "from ..bench.types import Problem, Value",
        "from ..bench.nouns import Value\nfrom ..bench.types import Problem",
    ),
    "absolute import": ("from .combine import add", "from unlearnbench.methods.training.combine import add"),
    "order of imports": (
        "from ..bench.types import Problem, Value\nfrom .combine import add",
        "from .combine import add\nfrom ..bench.types import Problem, Value",
    ),
    "layout": ("rate: float = 0.1", "rate: float = (\n        0.1\n    )"),
}
OTHER = {
    "constant": ("2.0", "2.5"),
    "name that is imported": ("import add", "import multiply as add"),
    "library": ("import math", "import cmath as math"),
    "text that is used": ("rate: float = 0.1", 'rate: str = "0.1"'),
    "default": ("rate: float = 0.1", "rate: float = 0.2"),
    "order of statements": (
        "    return math.sqrt(add(late(problem), 2.0))",
        "    return add(math.sqrt(late(problem)), 2.0)",
    ),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_changes_nothing_leaves_the_text(change: tuple[str, str]) -> None:
    assert change[0] in BASE
    assert _plain(BASE.replace(*change)) == _plain(BASE)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_what_changes_something_changes_the_text(change: tuple[str, str]) -> None:
    assert change[0] in BASE
    assert _plain(BASE.replace(*change)) != _plain(BASE)


def test_a_file_of_words_alone_is_empty() -> None:
    assert _plain('"""Only a docstring."""\n# and a comment\n') == b""
    assert _plain("from .a import b\n") != b""


def test_a_body_that_is_only_a_docstring_or_an_import_stays_valid() -> None:
    assert b"pass" in _plain('def f() -> None:\n    """Nothing."""\n')
    assert b"pass" in _plain("if TYPE_CHECKING:\n    from .a import b\n")
    assert b"pass" in _plain("try:\n    import x\nexcept ImportError:\n    '''none'''\n")


def test_every_module_of_the_project_has_a_text() -> None:
    for path in source.source_files("unlearnbench.methods.balanced").values():
        assert plain_source(path.read_bytes(), source.ROOT)
