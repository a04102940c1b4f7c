"""Which code of a job names ``/opt/ml``, for machines where its directory cannot be there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

OPT_ML = "/opt/ml"
#: Our own library: it asks ``SM_CHECKPOINT_DIR`` and the like first.
_LIBRARY = ("airflow_spot", "checkpoint")
_ENVIRONMENT = ("environ", "getenv")


def find(code: Iterable[Path], command: Sequence[str]) -> tuple[Path, int] | None:
    """Return the first file and line that would look for ``/opt/ml``, of the code that the command reaches.

    What also reads the environment is let pass: ``os.environ.get("SM_MODEL_DIR", "/opt/ml/model")`` finds the right
    place. So are comments and docstrings.

    :param code: the job's files. One that no other file imports or names is not run, so it is not looked at.
    :param command: what is started. Where it names no Python file of them, all are looked at.
    """
    for file in _reached([file for file in code if file.parts[-3:-1] != _LIBRARY], command):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        tree = _parsed(file)
        if (number := next(_in_lines(text) if tree is None else _in_python(tree), None)) is not None:
            return file, number
    return None


def _reached(files: Sequence[Path], command: Sequence[str]) -> Iterator[Path]:
    ahead = [file for file in files if file.suffix == ".py" and str(file) in command]
    if not ahead:
        yield from files
        return
    seen: set[Path] = set()
    while ahead:
        file = ahead.pop()
        if file not in seen:
            seen.add(file)
            yield file
            ahead += _used(file, files)


def _used(file: Path, files: Sequence[Path]) -> list[Path]:
    """Return the files that one imports, or names in a text, such as a script that it starts.

    By the last part of a name alone: where Python looks is for the script to say, and a file too many does no harm.
    """
    tree = _parsed(file)
    words: set[str] = set()
    for node in [] if tree is None else ast.walk(tree):
        if isinstance(node, ast.Import):
            words.update(part for name in node.names for part in name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            words.update((node.module or "").split("."), (name.name for name in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value.rpartition("/")[2])
    return [each for each in files if words & _names(each)]


def _names(file: Path) -> set[str]:
    if file.suffix != ".py":
        return {file.name}
    return {file.name, file.parent.name if file.stem in ("__init__", "__main__") else file.stem}


def _parsed(file: Path) -> ast.Module | None:
    """Return a file as Python; None where it is another language, or Python 2, or nested too deep to be walked."""
    if file.suffix != ".py":
        return None
    try:
        tree = ast.parse(file.read_bytes())
        ast.unparse(tree)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def _in_lines(text: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0]
        if OPT_ML in said and not any(word in said for word in _ENVIRONMENT):
            yield number


def _in_python(node: ast.AST) -> Iterator[int]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str) and OPT_ML in node.value:
            yield node.lineno
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, (ast.Call, ast.BoolOp, ast.IfExp)) and any(word in ast.unparse(node) for word in _ENVIRONMENT):
        return
    for child in ast.iter_child_nodes(node):
        yield from _in_python(child)
