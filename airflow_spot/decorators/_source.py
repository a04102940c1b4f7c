"""A function as a text that runs where its module is not: without decorators, and with nothing of the module in it."""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import symtable
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from airflow_spot.core.parameter_errors import Described, InvalidParameterError

#: The type hints of a function name what is imported for them, and are evaluated nowhere.
FUTURE = "from __future__ import annotations\n"
_OF_EVERY_MODULE = {"__name__", "__file__", "__doc__", "__builtins__", "__debug__"}


def function_text(function: Any) -> str:
    """
    Return the definition of a function as it stands in its file, without decorators and without indentation.

    :raises InvalidParameterError: it is none that could run elsewhere: named, with what to do.
    """
    name = str(getattr(function, "__name__", type(function).__name__))
    _check_kind(function, name)
    try:
        source = inspect.getsource(function)
        text = _definition(source, name)
    except (OSError, TypeError, SyntaxError, ValueError):
        raise _refusal(
            name, "in no file that can be read", "write it in the DAG's file, with def; it is sent as it stands there"
        ) from None
    _check_names(function, text)
    return text


def _refusal(name: str, what: str, fix: str) -> InvalidParameterError:
    return InvalidParameterError(f"@task.sagemaker_spot: function {name}", Described(what), fix)


def _check_kind(function: Any, name: str) -> None:
    if not isinstance(function, FunctionType):
        kind = f"an object of {type(function).__name__}, and no function"
        raise _refusal(name, kind, "decorate a function that is written with def, and put this decorator first")
    if name == "<lambda>":
        raise _refusal(name, "a lambda", "write it with def")
    if hasattr(function, "__wrapped__"):
        raise _refusal(name, "wrapped by another decorator, which is not sent", "call that inside the function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise _refusal(name, "async", "write it with def alone; it may call asyncio.run")
    if inspect.isgeneratorfunction(function):
        raise _refusal(name, "a generator", "return a result instead of yield")


def _definition(source: str, name: str) -> str:
    """Cut a function's own lines out of its source; what is in strings stays as it is."""
    shift = 1 if source[:1] in (" ", "\t") else 0
    tree: Any = ast.parse(f"if True:\n{source}" if shift else source)
    node = tree.body[0].body[0] if shift else tree.body[0]
    if not isinstance(node, ast.FunctionDef) or node.name != name:
        raise ValueError(name)
    lines = source.split("\n")
    first, last = node.lineno - shift, (node.end_lineno or node.lineno) - shift
    indent = len(lines[first - 1]) - len(lines[first - 1].lstrip())
    in_strings = {line - shift for line in _lines_in_strings(node)}
    cut = (
        line if number in in_strings else line[min(indent, len(line) - len(line.lstrip())) :]
        for number, line in enumerate(lines[first - 1 : last], first)
    )
    return "\n".join(cut).rstrip() + "\n"


def _lines_in_strings(node: ast.AST) -> Iterator[int]:
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr) or (isinstance(each, ast.Constant) and isinstance(each.value, (str, bytes))):
            yield from range(each.lineno + 1, (each.end_lineno or each.lineno) + 1)


def _check_names(function: FunctionType, text: str) -> None:
    """Check that a function uses no name of its module or of a function around it: neither is in the job."""
    known = function.__globals__
    names = [
        name
        for name in sorted(foreign_names(text))
        if name not in _OF_EVERY_MODULE
        and not (hasattr(builtins, name) and known.get(name, getattr(builtins, name)) is getattr(builtins, name))
    ]
    if names:
        raise _refusal(
            function.__name__,
            f"using what is not in it, and only the function is sent ({', '.join(names)})",
            "; ".join(_fix(name, function) for name in names),
        )


def future_of(function: FunctionType, text: str) -> str:
    """
    Return the line before a function's text that keeps its type hints from being evaluated; empty where they are to be.

    Python 3.7 could not evaluate ``list[int]``, so it is there, but for a function with a class in it, whose module
    has no such line: dataclasses and parsers of arguments read the hints of their fields.
    """
    of_module = bool(function.__code__.co_flags & __future__.annotations.compiler_flag)
    has_class = any(isinstance(node, ast.ClassDef) for node in ast.walk(ast.parse(text)))
    hints_are_known = all(hasattr(builtins, name) for name in foreign_names(text, future=""))
    return "" if has_class and hints_are_known and not of_module else FUTURE


def foreign_names(text: str, future: str = FUTURE) -> set[str]:
    """Return the names that a function's text uses, in its default values too, and nowhere defines or imports."""
    module = symtable.symtable(future + text, "<function>", "exec")
    used: set[str] = set()
    given: set[str] = set()
    for symbol in module.get_symbols():
        (given if symbol.is_assigned() or symbol.is_imported() else used).add(symbol.get_name())
    for table in _below(module):
        for symbol in table.get_symbols():
            if symbol.is_global():
                (given if symbol.is_assigned() or symbol.is_imported() else used).add(symbol.get_name())
    return used - given


def _below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _below(child)


def _fix(name: str, function: FunctionType) -> str:
    """Return what to do about one name that is not in the function."""
    if name in function.__code__.co_freevars:
        is_function = isinstance(inspect.getclosurevars(function).nonlocals.get(name), FunctionType)
        return (
            f"define {name} inside the function; where another decorator has wrapped {name}, call that inside"
            if is_function
            else f"pass {name}, which is of the function around it, as an argument"
        )
    if name not in function.__globals__:
        return f"{name} is defined nowhere: import or define it inside the function"
    value = function.__globals__[name]
    if isinstance(value, ModuleType):
        as_name = "" if value.__name__ == name else f" as {name}"
        # Of `import a.b`, the name is a.
        return f"write `import {value.__name__}{as_name}` inside the function"
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        if value.__module__ in (None, function.__module__):
            return f"define {name} inside the function, or in a file of source_dir that it imports there"
        as_name = "" if value.__name__ == name else f" as {name}"
        return f"write `from {value.__module__} import {value.__name__}{as_name}` inside the function"
    return f"pass {name} as an argument"
