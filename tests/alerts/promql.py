"""Parses the parts of PromQL that checks of rules need: selectors, functions and labels.

It expects a correct expression. Whether an expression is correct, promtool checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<window>\[[^]]*\])
    | (?P<number>[0-9][0-9.]*(?:e[0-9]+|ms|[smhdwy])?)
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<mark>=~|!~|!=|>=|<=|==|[-+*/%^(){},=<>])
    """,
    re.VERBOSE,
)
_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool"}
COMPARISONS = {">", "<", ">=", "<=", "==", "!="}


@dataclass
class Selector:
    """A metric name with its matchers, window and offset."""

    name: str
    functions: tuple[str, ...]
    """Functions around it, the outermost first."""
    matchers: list[tuple[str, str, str]] = field(default_factory=list)
    """Label, operator and value."""
    window: str = ""
    offset: str = ""


@dataclass
class Expression:
    """The parts of an expression."""

    selectors: list[Selector] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    """Labels named by aggregations and matching."""
    functions: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    divisors: list[str] = field(default_factory=list)
    """The text of each divisor, up to the end of its parentheses."""


def tokens(text: str) -> list[str]:
    """Split an expression into tokens; raise ``AssertionError`` at an unknown character."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, f"cannot read {text[at:]!r}"
        if match.lastgroup != "space":
            found.append(match[0])
        at = match.end()
    return found


def parse(text: str) -> Expression:
    """Return the parts of an expression."""
    return _Reader(tokens(text)).read()


class _Reader:
    def __init__(self, found: list[str]) -> None:
        self._tokens = found
        self._at = 0
        self._open: list[str] = []
        self._function = ""
        self._read = Expression()

    def read(self) -> Expression:
        while self._at < len(self._tokens):
            self._step()
        assert not self._open, "a parenthesis is not closed"
        return self._read

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _step(self) -> None:
        token = self._take()
        if token == "(":
            self._open.append(self._function)
            self._function = ""
        elif token == ")":
            self._open.pop()
        elif token in _LABELS:
            self._read.labels |= self._label_list()
        elif token in _OPERATORS | COMPARISONS:
            self._read.operators.add(token)
        elif token == "offset":
            self._read.selectors[-1].offset = self._take()
        elif token.startswith("["):
            # The window of a subquery counts for the last selector inside it.
            self._read.selectors[-1].window = token[1:-1]
        elif token == "/":
            self._read.divisors.append(self._divisor())
        elif re.match(r"[A-Za-z_:]", token):
            self._name(token)

    def _name(self, token: str) -> None:
        if self._next() == "(" or self._next() in _LABELS:
            self._function = token
            self._read.functions.add(token)
            return
        selector = Selector(token, tuple(filter(None, self._open)))
        self._read.selectors.append(selector)
        if self._next() == "{":
            self._take()
            while self._next() != "}":
                label, operator, value = self._take(), self._take(), self._take()
                selector.matchers.append((label, operator, value[1:-1]))
                if self._next() == ",":
                    self._take()
            self._take()

    def _label_list(self) -> set[str]:
        labels: set[str] = set()
        if self._next() == "(":
            self._take()
            while (token := self._take()) != ")":
                labels |= {token} - {","}
        return labels

    def _divisor(self) -> str:
        """Return the text of a divisor without moving on."""
        at = self._at
        while self._tokens[at] in _LABELS:
            at = self._tokens.index(")", at) + 1
        end, depth = at, 0
        while end < len(self._tokens):
            depth += {"(": 1, ")": -1}.get(self._tokens[end], 0)
            end += 1
            if depth == 0:
                break
        return " ".join(self._tokens[at:end])
