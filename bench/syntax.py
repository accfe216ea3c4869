"""The meaning of a Python file as text: without comments, docstrings, layout, and locations of modules.

Keys are made of this text, so a comment, a docstring or a moved module makes no cached training stale.
"""

import ast
from typing import Any

BODIES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.ExceptHandler,
    ast.match_case,
)
"""Nodes whose body must hold a statement."""


class _Stripper(ast.NodeTransformer):
    """Removes imports and bare strings from a tree. imports: the removed imports, one text for each name."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.imports: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            is_own = alias.name.partition(".")[0] == self.root
            name = alias.name.rpartition(".")[2] if is_own else alias.name
            self.imports.add(f"import {name} as {alias.asname}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        is_own = node.level > 0 or (node.module or "").partition(".")[0] == self.root
        for alias in node.names:
            self.imports.add(f"from {'' if is_own else node.module} import {alias.name} as {alias.asname}")

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit(self, node: ast.AST) -> Any:
        found = super().visit(node)
        if isinstance(found, BODIES) and not found.body:
            found.body = [ast.Pass()]
        return found


def plain_source(source: bytes, root: str) -> bytes:
    """Return the text of a file's syntax tree; b"" where it does nothing. root: the project's own package.

    Left out: comments, strings that are statements, layout, the order of imports, and the modules from which
    names of the project are imported. The names themselves stay. Raises SyntaxError or ValueError where the
    source is no Python.
    """
    stripper = _Stripper(root)
    tree = ast.parse(source)
    stripper.visit(tree)
    text = ast.unparse(ast.fix_missing_locations(tree))
    return "\n".join([*sorted(stripper.imports), text]).strip().encode()
