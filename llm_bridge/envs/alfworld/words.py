"""The package's text grammar read aloud: its own rules and its own parser, without copying the world at every symbol.

The stock reader parses every condition anew and deep-copies the bindings at each symbol; the words are the same, which
the tests check against it on random walks.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textworld.envs.pddl.textgen import (
    ConditionalSymbol,
    ContextSensitiveGrammar,
    EvalSymbol,
    ListSymbol,
    NonterminalSymbol,
    TerminalSymbol,
)
from textworld.logic import Placeholder, Rule, State, Variable

__all__ = ["Reader"]

Mapped = Mapping[Placeholder, Variable]


@dataclass(frozen=True)
class _Scene:
    """What a text may speak of: the facts, how objects are called, and which objects are meant."""

    state: State
    entities: Mapping[str, Any]
    mapping: Mapped

    def where(self, rule: Rule) -> Iterator[_Scene]:
        """One scene for each way in which a condition holds, in the order of the sorted facts."""
        for found in self.state.all_assignments(rule, self.mapping):
            bound = {p: variable for p, variable in found.items() if variable is not None}
            yield _Scene(self.state, self.entities, {**self.mapping, **bound})

    def value(self, expression: ast.expr) -> Any:
        """Evaluate the few forms of expression that the grammar has: names, attributes, literals, `+`, `or`."""
        match expression:
            case ast.Name(id=name):
                return next(self.entities[v.name] for p, v in self.mapping.items() if p.name == name)
            case ast.Attribute(value=owner, attr=attribute):
                return getattr(self.value(owner), attribute)
            case ast.Constant(value=value):
                return value
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.value(left) + self.value(right)
            case ast.BoolOp(op=ast.Or(), values=values):
                return next((v for v in map(self.value, values) if v), None)
        raise NotImplementedError(ast.dump(expression))


class Reader:
    """Tells texts of one grammar; what it has parsed it keeps."""

    def __init__(self, grammar: ContextSensitiveGrammar) -> None:
        self._grammar = grammar
        self._texts: dict[str, Sequence[Any]] = {}
        self._conditions: dict[str, Rule] = {}
        self._expressions: dict[str, ast.expr] = {}

    def tell(self, text: str, state: State, entities: Mapping[str, Any], mapping: Mapped) -> str:
        """Derive a text (`#look.feedback#`, `take {o} from {r}`) in a state, with the objects that `mapping` binds."""
        if text not in self._texts:
            grammar = ContextSensitiveGrammar.parse(json.dumps({"text": [{"rhs": text}]}))
            self._texts[text] = grammar._rules["text"][0].rhs
        return self._words(self._texts[text], _Scene(state, entities, mapping))

    def _words(self, symbols: Sequence[Any], scene: _Scene) -> str:
        return "".join(self._word(symbol, scene) for symbol in symbols)

    def _word(self, symbol: Any, scene: _Scene) -> str:
        match symbol:
            case TerminalSymbol():
                return str(symbol.symbol)
            case NonterminalSymbol():
                return self._rule(str(symbol.symbol), scene)
            case EvalSymbol():
                return str(scene.value(self._expression(symbol.expression)))
            case ListSymbol():
                return self._list(self._each(symbol.symbol, scene), scene)
            case ConditionalSymbol():
                return "".join(self._each(symbol, scene))
        raise NotImplementedError(type(symbol).__name__)

    def _rule(self, name: str, scene: _Scene) -> str:
        """Apply the first rule of that name whose condition holds."""
        for rule in self._grammar._rules[name]:
            if not rule.condition or any(True for _ in scene.where(self._condition(rule.condition))):
                return self._words(rule.rhs, scene)
        raise NotImplementedError(f"no rule {name} applies")

    def _each(self, symbol: Any, scene: _Scene) -> list[str]:
        if not isinstance(symbol, ConditionalSymbol):
            return [self._word(symbol, scene)]
        scenes = scene.where(self._condition(symbol.given)) if symbol.given else [scene]
        return [self._word(symbol.expression, one) for one in scenes]

    def _list(self, items: Sequence[str], scene: _Scene) -> str:
        if not items:
            return self._rule("list_empty", scene)
        if len(items) == 1:
            return items[0]
        last = self._rule("list_last_separator", scene)
        return self._rule("list_separator", scene).join(items[:-1]) + last + items[-1]

    def _condition(self, text: str) -> Rule:
        if text not in self._conditions:
            self._conditions[text] = Rule.parse_conjunctive_query(text)
        return self._conditions[text]

    def _expression(self, text: str) -> ast.expr:
        if text not in self._expressions:
            self._expressions[text] = ast.parse(text.strip(), mode="eval").body
        return self._expressions[text]
