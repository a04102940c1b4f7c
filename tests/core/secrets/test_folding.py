"""However a text is written, it folds to what it folds to itself."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.secrets.folding import Folded, fold, unescape

#: In which ways containers, shells, servers and pages write a value.
WAYS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "JSON in a shell": lambda text: shlex.quote(json.dumps({"key": text})),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)),
    "JSON in a URL": lambda text: quote(json.dumps(text)),
    "Python": repr,
    "Python's bytes": lambda text: repr(text.encode()),
    "a shell's word": shlex.quote,
    "HTML": html.escape,
    "HTML's numbers": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "a URL": lambda text: f"https://host/path?token={quote(text, safe='')}&page=1",
    "a URL's path": quote,
    "a form": quote_plus,
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent-encoded throughout": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
}
#: Half of them mean something to somebody who reads escapes.
CHARACTERS = st.one_of(
    st.sampled_from("\\\"'%&+n041 \n\txu;#"),
    st.characters(min_codepoint=32, max_codepoint=126),
    st.characters(blacklist_categories=["Cs"]),
)


@given(st.text(CHARACTERS, max_size=20), st.sampled_from(sorted(WAYS)))
def test_a_text_folds_to_the_same_in_whatever_way_it_is_written(text: str, way: str) -> None:
    assert fold(text) in fold(WAYS[way](text))


@given(st.text(CHARACTERS, max_size=40))
def test_what_is_folded_knows_where_it_was(text: str) -> None:
    folded, length = Folded(text), len(fold(text))
    for begin in range(length):
        start, stop = folded.span(begin, begin + 1)
        assert 0 <= start < stop <= len(text)
        assert fold(folded.part(begin, begin + 1)) or folded.part(begin, begin + 1)
        assert folded.span(begin, length) == (start, folded.span(length - 1, length)[1])
    assert "".join(folded.part(i, i + 1) for i in range(length)) == fold(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"say \"yes\"", 'say "yes"'),
        (r"\\\"yes\\\"", '"yes"'),
        ("%C3%A9t%C3%A9, %E9", "été, é"),
        (r"\u00e9, \xe9, \xc3\xa9, \303\251, \U000000e9", "é, é, é, é, é"),
        (r"\ud83d\ude00", "😀"),
        ("&lt;a&gt; &amp;amp; &#39;&#x27; &nonsense;", "<a> & '' &nonsense;"),
        ("%252F%25zz", "/%zz"),
        ("100%, 5 & 6; C:\\dir", "100%, 5 & 6; C:dir"),
        (r"\UFFFFFFFF", "UFFFFFFFF"),
    ],
)
def test_escapes_are_taken_for_what_they_stand_for(text: str, plain: str) -> None:
    assert unescape(text) == plain


def test_what_was_escaped_is_found_where_it_stands() -> None:
    text = r'{"k": "a\u00e9\"b"}'
    folded = Folded(text)
    at = fold(text).index("aéb")
    start, stop = folded.span(at, at + 3)
    assert text[start:stop] == r"a\u00e9\"b"
    assert folded.around(at, at + 3) == ('"', '"')
    assert folded.part(at, at + 3) == 'aé"b'
