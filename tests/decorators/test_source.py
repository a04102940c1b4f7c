"""What is sent of a function: its own lines, and nothing that it does not hold itself."""

from __future__ import annotations

import ast
import collections
import functools
import json as js
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.decorators._source import FUTURE, foreign_names, function_text, future_of

if TYPE_CHECKING:
    from airflow_spot.checkpoint import Checkpointer

ROUNDS = 3


def helper() -> int:
    return 1


def decorated(*_: Any, **__: Any) -> Callable[[Any], Any]:
    """A decorator that gives the function back, as Airflow's gives it to ours."""
    return lambda function: function


@decorated(
    image="an image",  # with a comment
)
@decorated()
def whole(rounds: int, *more: OrderedDict[str, int], checkpoint: Checkpointer | None = None) -> dict[str, Any]:
    """What it does:
    a line with less indentation.
    """
    import json
    from collections import Counter as Count

    # A comment that stays.
    class Inner:
        size: OrderedDict[str, int]

        def twice(self) -> int:
            return 2 * rounds

    def again(n: int) -> int:
        return again(n - 1) if n > 0 else len(whole.__name__)

    counted = Count(each for each in more)
    text = f"""{rounds}
{json.dumps(dict(counted))}"""
    try:
        value: int = again(Inner().twice())
    except ValueError as error:
        value = len(str(error))
    if (found := value) > 3:
        return {"text": text, "found": found, "names": [n for n in range(2) if n < 2]}
    return {}


def test_a_function_travels_as_it_stands_without_its_decorators() -> None:
    text = function_text(whole)
    assert text.startswith("def whole(rounds: int,")
    assert "# A comment that stays." in text
    namespace: dict[str, Any] = {"__name__": "there"}
    exec(compile(FUTURE + text, "there", "exec"), namespace)
    assert namespace["whole"](2) == whole(2) == {"text": "2\n{}", "found": 5, "names": [0, 1]}
    assert namespace["whole"].__doc__ == whole.__doc__


def test_a_function_inside_another_block_loses_its_indentation_and_its_strings_keep_theirs() -> None:
    if ROUNDS:

        @decorated()
        def inside() -> str:
            text = """first
            second
third"""
            # a comment that is further left
            return text

    text = function_text(inside)
    assert text.startswith('def inside() -> str:\n    text = """first\n            second\nthird"""\n')
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    assert namespace["inside"]() == inside()


def _refused(function: Any) -> str:
    with pytest.raises(InvalidParameterError) as refusal:
        function_text(function)
    return str(refusal.value)


def uses_data() -> Any:
    return [ROUNDS for _ in range(3)]


def uses_in_a_default(rounds: int = ROUNDS) -> int:
    return rounds


def uses_modules() -> Any:
    return js.dumps({}) + str(collections.Counter())


def uses_a_class() -> Any:
    return OrderedDict(), Path()


def uses_a_helper() -> Any:
    return helper()


def uses_nothing_that_is_there() -> Any:
    return nowhere  # type: ignore[name-defined]  # noqa: F821


def changes_the_module() -> None:
    global ROUNDS  # noqa: PLW0603
    ROUNDS = 4
    print(ROUNDS)


@pytest.mark.parametrize(
    ("function", "fix"),
    [
        (uses_data, "(ROUNDS): pass ROUNDS as an argument"),
        (uses_in_a_default, "(ROUNDS): pass ROUNDS as an argument"),
        (uses_modules, "(collections, js): write `import collections` inside the function; write `import json as js`"),
        (uses_a_class, "write `from collections import OrderedDict` inside the function; write `from pathlib import"),
        (uses_a_helper, "define helper inside the function, or in a file of source_dir that it imports"),
        (uses_nothing_that_is_there, "nowhere is defined nowhere: import or define it inside the function"),
    ],
)
def test_what_a_function_does_not_hold_is_named_with_the_fix(function: Any, fix: str) -> None:
    said = _refused(function)
    assert f"function {function.__name__} is using what is not in it" in said
    assert fix in said


def test_a_global_that_the_function_makes_itself_is_its_own() -> None:
    assert "global ROUNDS" in function_text(changes_the_module)


def test_a_builtin_is_there_unless_the_module_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> None:
        print("there")

    assert function_text(prints)
    monkeypatch.setitem(prints.__globals__, "print", helper)
    assert "(print)" in _refused(prints)


def test_variables_of_the_function_around_are_named() -> None:
    size = 3

    def inner() -> int:
        return size

    assert "pass size, which is of the function around it, as an argument" in _refused(inner)


def test_a_decorator_that_hides_what_it_wraps_is_met_too() -> None:
    def logs(trains: Callable[[], Any]) -> Callable[[], Any]:
        def inner() -> Any:
            return trains()

        return inner

    said = _refused(logs(helper))
    assert "define trains inside the function; where another decorator has wrapped trains, call that inside" in said


def test_a_function_that_calls_itself_is_whole() -> None:
    def again(n: int) -> int:
        return again(n - 1) if n else 0

    assert function_text(again)


class Callable_:
    def __call__(self) -> None: ...

    def method(self) -> None: ...


async def waits() -> None: ...


async def yields_later() -> Any:
    yield 1


def yields() -> Any:
    yield 1


@functools.wraps(helper)
def wrapped() -> int:
    return helper()


unread: dict[str, Any] = {}
exec("def unread(): pass", unread)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: 1, "function <lambda> is a lambda: write it with def"),
        (waits, "function waits is async"),
        (yields_later, "function yields_later is async"),
        (yields, "function yields is a generator: return a result"),
        (wrapped, "function helper is wrapped by another decorator, which is not sent: call that inside"),
        (Callable_(), "an object of Callable_, and no function"),
        (Callable_().method, "function method is an object of method, and no function"),
        (functools.partial(helper), "an object of partial, and no function"),
        (len, "function len is an object of builtin_function_or_method"),
        (unread["unread"], "function unread is in no file that can be read"),
    ],
)
def test_what_cannot_run_elsewhere_is_refused(function: Any, said: str) -> None:
    assert said in _refused(function)


NAMES = st.sampled_from(["a", "b", "c", "len", "train"])


@st.composite
def bodies(draw: st.DrawFn, depth: int = 2) -> str:
    """Statements over few names, so that they meet: assigned, used, imported, declared, in scopes within scopes."""
    name, other = draw(NAMES), draw(NAMES)
    simple = [
        f"{name} = {other}",
        f"import {name}",
        f"print({name})",
        f"[{name} for {other} in ()]",
        f"{name}: {other} = 1",
        f"lambda {name}={other}: {name}",
        f"for {name} in {other}: pass",
        f"x = '''one\n  {name}\ntwo'''",
        f"({name} := {other})",
    ]
    if depth == 0:
        return draw(st.sampled_from(simple))
    lines = draw(st.lists(bodies(depth=depth - 1), min_size=1, max_size=3))
    inner = textwrap.indent("\n".join(lines), "    ", lambda line: True)
    kind = draw(st.sampled_from(["def {0}({1}):", "class {0}({1}):", "if {0}:", "plain"]))
    return "\n".join(lines) if kind == "plain" else f"{kind.format(name, other)}\n{inner}"


@given(bodies())
def test_the_names_that_are_found_are_those_that_python_would_look_for_in_the_module(body: str) -> None:
    text = "def train():\n" + textwrap.indent(body, "    ", lambda line: True) + "\n"
    try:
        code = compile(FUTURE + text, "text", "exec")
    except SyntaxError:
        return
    loaded, stored = _globals_of(next(each for each in code.co_consts if hasattr(each, "co_code")))
    assert foreign_names(text) == loaded - stored - {"train", "__annotations__"}


def _globals_of(code: Any) -> tuple[set[str], set[str]]:
    """What a code object, and those in it, load as global names and store as such, by their instructions."""
    import dis

    loaded: set[str] = set()
    stored: set[str] = set()
    for step in dis.get_instructions(code):
        # A class's body looks at its own names first; what it does not make itself is then the module's.
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") or step.opname.startswith("LOAD_FROM_DICT_OR_GLOBALS"):
            loaded.add(str(step.argval))
        elif step.opname in ("STORE_GLOBAL", "STORE_NAME"):
            stored.add(str(step.argval))
    inner = [_globals_of(each) for each in code.co_consts if hasattr(each, "co_code")]
    if any(step.opname == "STORE_NAME" for step in dis.get_instructions(code)):
        stored_here = {str(s.argval) for s in dis.get_instructions(code) if s.opname == "STORE_NAME"}
        loaded, stored = loaded - stored_here - {"__name__"}, stored - stored_here
    return loaded.union(*(each[0] for each in inner)), stored.union(*(each[1] for each in inner))


def test_the_text_is_the_functions_syntax_tree_without_decorators() -> None:
    source = Path(__file__).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == "whole":
            node.decorator_list = []
            assert ast.dump(ast.parse(function_text(whole)).body[0]) == ast.dump(node)


WITH_CLASS = """
def with_class(rate: float = 0.1) -> list[int]:
    import dataclasses, typing
    from decimal import Decimal

    @dataclasses.dataclass
    class Settings:
        rate: Decimal

    return [len(typing.get_type_hints(Settings))]
"""


@pytest.mark.parametrize(
    ("text", "of_module", "line"),
    [
        (WITH_CLASS, "", ""),  # the hints of its fields are read
        (WITH_CLASS, FUTURE, FUTURE),  # as in its module
        (WITH_CLASS.replace("list[int]", "Elsewhere"), "Elsewhere = int\n", FUTURE),
        ("def plain(a: list[int]) -> None:\n    pass\n", "", FUTURE),  # Python 3.7 cannot evaluate that
    ],
)
def test_hints_are_evaluated_where_a_class_in_the_function_may_need_them(text: str, of_module: str, line: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(of_module + text, "<module>", "exec", dont_inherit=True), names)
    function = names["with_class" if "with_class" in text else "plain"]
    assert future_of(function, text.lstrip()) == line
    if text == WITH_CLASS and not of_module:
        assert function() == [1]
