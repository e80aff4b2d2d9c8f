"""Formulas as fastnn's texts have them (`h (1 - h)`, `1 / (1 + e^-a)`), as MathML.

    show(parse(text))             with letters, as in docs/maths.md
    show(parse(text), numbers)    the letters replaced by numbers

    formula    equation ("," (name "=" cases | words))*
    equation   cases (("=" | "<-") cases)*
    cases      expr ["where" comparison "," ("else" expr | expr "elsewhere")]
    expr       ["-"] term (("+" | "-") term)*
    term       power (["*" | "/"] power)*       a space multiplies
    power      atom ["^" ["-"] atom]
    atom       number | name | name"("cases, ...")" | "("cases")" | "["cases"]" | "|"cases"|"
               | "sum" cases | "ln" power

`sum` adds up all to the end of its bracket, over outputs. e is Euler's number before ^, elsewhere a
letter; e(y) is one letter. Names may end in _ij and ^(k), and dL/dW is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

Node = tuple[Any, ...]  # its kind and its parts

TOKEN = re.compile(
    r"(\s*)(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>dL/d[A-Za-z]+(?:_\w+)?(?:\^\([\w-]+\))?|e\([yr]\)"
    r"|[A-Za-z]+'?(?:_\w+)?(?:\^\([\w-]+\))?)|(?P<operator><-|[-+*/^()\[\]|,<>=]))"
)
GREEK = {"alpha": "α", "gamma": "γ", "delta": "δ", "Phi": "Φ", "phi": "φ", "theta": "θ"}
GREEK |= {"sigma": "σ", "eta": "η"}
SPELT = {**GREEK, "xhat": "x̂", "epsilon": "ε"}
FUNCTIONS: dict[str, Callable[..., float]] = {
    "max": max,
    "min": min,
    "tanh": math.tanh,
    "ln": lambda x: math.log(x) if x else -math.inf,
    "sqrt": math.sqrt,
    "sign": lambda x: math.copysign(1, x) if x else 0,
    "Phi": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "phi": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "s": lambda x: 1 / (1 + math.exp(-x)),
}
CLOSING = {"(": ")", "[": "]", "|": "|"}
DIGITS = 6  # of numbers in formulas, significant


class Numbers(NamedTuple):
    """What letters stand for. each: for every output, what they stand for in a sum."""

    values: Mapping[str, float]
    each: Sequence[Mapping[str, float]] = ()


class _Reader:
    """Reads a formula from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.definitions: dict[str, Node] = {}
        self.remarks: list[str] = []

    def next(self) -> tuple[str, str, bool]:
        """Kind and text of what follows, and whether a space is before it; ("", "", ...) at the
        end."""
        if not self.text[self.at :].strip():
            return "", "", False
        found = TOKEN.match(self.text, self.at)
        if found is None:
            raise ValueError(f"cannot read {self.text[self.at :]!r} in {self.text!r}")
        kind = str(found.lastgroup)
        return kind, found[kind], bool(found[1])

    def take(self, *wanted: str) -> str:
        """The next one, if it is among these."""
        text = self.next()[1]
        if text not in wanted or not text:
            return ""
        self.skip()
        return text

    def skip(self) -> None:
        found = TOKEN.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def must(self, wanted: str) -> None:
        if not self.take(wanted):
            raise ValueError(f"{wanted!r} must come at {self.text[self.at :]!r} in {self.text!r}")

    def whole(self) -> Node:
        sides, signs = [self.cases()], []
        while sign := self.take("=", "<-"):
            signs.append(sign)
            sides.append(self.cases())
        while self.take(","):
            words = self.text[self.at :].split(",")[0]
            if re.match(r"\s*\w+ = ", words):
                _, name, _ = self.next()
                self.skip()
                self.must("=")
                self.definitions[name] = self.cases()
            else:
                self.remarks.append(words.strip())
                self.at += len(words)
        if self.next()[0]:
            raise ValueError(f"what means {self.text[self.at :]!r} in {self.text!r}?")
        return "formula", sides, signs, self.definitions, self.remarks

    def cases(self) -> Node:
        first = self.expr()
        if not self.take("where"):
            return first
        sides, signs = [self.expr()], []
        while sign := self.take("<", ">"):
            signs.append(sign)
            sides.append(self.expr())
        self.must(",")
        last = bool(self.take("else"))
        other = self.expr()
        if not last:
            self.must("elsewhere")
        return "cases", first, sides, signs, other

    def expr(self) -> Node:
        signs, terms = [self.take("-")], [self.term()]
        while sign := self.take("+", "-"):
            signs.append(sign)
            terms.append(self.term())
        return terms[0] if len(terms) == 1 and not signs[0] else ("expr", signs, terms)

    def term(self) -> Node:
        factors, stars = [self.power()], [False]
        while True:
            if self.take("/"):
                factors[-1] = "fraction", factors[-1], self.power()
                continue
            star = bool(self.take("*"))
            kind, text, _ = self.next()
            ends = text in ("where", "else", "elsewhere") or (kind == "operator" and (
                text not in "([|" or (text == "|" and self.inside_bars)
            ))
            if not star and (not kind or ends):
                break
            factors.append(self.power())
            stars.append(star)
        return factors[0] if len(factors) == 1 else ("product", factors, stars)

    inside_bars = False

    def power(self) -> Node:
        base = self.atom()
        if not self.take("^"):
            return base
        minus = bool(self.take("-"))
        exponent = self.atom()
        return "power", base, ("expr", ["-"], [exponent]) if minus else exponent

    def atom(self) -> Node:
        kind, text, _ = self.next()
        if not kind:
            raise ValueError(f"something is missing at the end of {self.text!r}")
        self.skip()
        if kind == "number":
            return "number", text
        if kind == "operator":
            if text not in CLOSING:
                raise ValueError(f"a number or letter must stand where {text!r} is: {self.text!r}")
            before, self.inside_bars = self.inside_bars, text == "|"
            inner = self.cases()
            self.inside_bars = before
            self.must(CLOSING[text])
            return "brackets", text, inner
        if text.partition("_")[0] == "sum":
            return "sum", text.partition("_")[2], self.cases()
        after = self.next()
        if after[1] == "(" and not after[2] and text[-1] != ")":
            self.must("(")
            arguments = [self.cases()]
            while self.take(","):
                arguments.append(self.cases())
            self.must(")")
            return "call", text, arguments
        if text == "ln":
            return "call", text, [self.power()]
        return "name", text


def parse(text: str) -> Node:
    """Of a formula: ("formula", sides, signs between them, definitions, remarks)."""
    return _Reader(text).whole()


# --- MathML


def math_ml(*parts: str, block: bool = False) -> str:
    display = ' display="block"' if block else ""
    return f"<math{display}>{''.join(parts)}</math>"


def number(value: float, guarded: bool = False, digits: int = DIGITS) -> str:
    """value with so many significant digits; guarded: in brackets where it is negative."""
    text = written(value, digits)
    figures, _, power = text.partition("e")
    figures = f"<mn>{figures.removeprefix('−')}</mn>"
    if power:
        sign = "<mo>−</mo>" if power[0] == "−" else ""
        tens = f"<mrow>{sign}<mn>{power.lstrip('−+')}</mn></mrow>"
        figures = f"{figures}<mo>·</mo><msup><mn>10</mn>{tens}</msup>"
    if not text.startswith("−"):
        return f"<mrow>{figures}</mrow>" if power else figures
    negative = f"<mrow><mo>−</mo>{figures}</mrow>"
    return f"<mrow><mo>(</mo>{negative}<mo>)</mo></mrow>" if guarded else negative


def written(value: float, digits: int = DIGITS) -> str:
    """With so many significant digits, as text: −0.00948006, 1.5e−7."""
    figures, e, power = f"{value + 0.0:.{digits}g}".partition("e")
    return (figures + (f"e{int(power)}" if e else "")).replace("-", "−").replace("inf", "∞")


def letter(name: str) -> str:
    """A name with its indices: W_ij^(1), delta^(2), dL/dW^(1)."""
    if name.startswith("dL/d"):
        below = f"<mrow><mi>∂</mi>{letter(name[4:])}</mrow>"
        return f"<mfrac><mrow><mi>∂</mi><mi>L</mi></mrow>{below}</mfrac>"
    if name in ("e(y)", "e(r)"):
        return f"<msub><mi>e</mi><mi>{name[2]}</mi></msub>"
    name, _, above = name.partition("^")
    name, _, below = name.partition("_")
    prime = "<mo>′</mo>" if name.endswith("'") else ""
    name = name.rstrip("'")
    text = f"<mi>{escape(SPELT.get(name, name))}</mi>"
    if prime:
        text = f"<msup>{text}{prime}</msup>"
    under = "".join(_index(one) for one in below)
    over = f"<mrow><mo>(</mo>{''.join(_index(one) for one in above[1:-1])}<mo>)</mo></mrow>"
    if below and above:
        return f"<msubsup>{text}<mrow>{under}</mrow>{over}</msubsup>"
    if below:
        return f"<msub>{text}<mrow>{under}</mrow></msub>"
    return f"<msup>{text}{over}</msup>" if above else text


def _index(one: str) -> str:
    kind = "mn" if one.isdigit() else "mo" if one == "-" else "mi"
    return f"<{kind}>{one.replace('-', '−')}</{kind}>"


def show(node: Node, numbers: Numbers | None = None, guarded: bool = False) -> str:
    """MathML of a formula, without <math>. With numbers cases are the one that holds, and
    definitions stand where their names were."""
    return _Shown(numbers, node[3] if numbers else {}).of(node, guarded)


class _Shown:
    def __init__(self, numbers: Numbers | None, definitions: dict[str, Node]) -> None:
        self.numbers, self.definitions = numbers, definitions

    def of(self, node: Node, guarded: bool = False) -> str:
        return str(getattr(self, f"_{node[0]}")(*node[1:], guarded))

    def _formula(
        self,
        sides: list[Node],
        signs: list[str],
        definitions: dict[str, Node],
        remarks: list[str],
        _: bool,
    ) -> str:
        parts = [self.of(sides[0])]
        for sign, side in zip(signs, sides[1:], strict=True):
            parts += [f"<mo>{'←' if sign == '<-' else sign}</mo>", self.of(side)]
        if self.numbers is None:
            for name, value in definitions.items():
                parts += ['<mo>,</mo><mspace width="1em"/>', letter(name), "<mo>=</mo>"]
                parts.append(self.of(value))
            for words in remarks:
                parts.append(f'<mo>,</mo><mspace width="1em"/><mtext>{escape(words)}</mtext>')
        return f"<mrow>{''.join(parts)}</mrow>"

    def _number(self, text: str, _: bool) -> str:
        return f"<mn>{text}</mn>"

    def _name(self, name: str, guarded: bool) -> str:
        if self.numbers is None:
            return letter(name)
        if name in self.numbers.values:
            return number(self.numbers.values[name], guarded)
        return self._brackets("(", self.definitions[name], False)

    def _call(self, name: str, arguments: list[Node], _: bool) -> str:
        if name == "sqrt":
            return f"<msqrt>{self.of(arguments[0])}</msqrt>"
        head = letter(name) if name in ("g", "g'", "s", *GREEK) else f"<mi>{name}</mi>"
        if name == "ln" and arguments[0][0] in ("name", "number", "brackets"):
            inner = self.of(arguments[0], True)
            return f'<mrow>{head}<mspace width="0.17em"/>{inner}</mrow>'
        inner = "<mo>,</mo>".join(self.of(one) for one in arguments)
        return f"<mrow>{head}<mo>&#x2061;</mo><mo>(</mo>{inner}<mo>)</mo></mrow>"

    def _brackets(self, opening: str, inner: Node, _: bool) -> str:
        return f"<mrow><mo>{opening}</mo>{self.of(inner)}<mo>{CLOSING[opening]}</mo></mrow>"

    def _fraction(self, above: Node, below: Node, _: bool) -> str:
        above, below = (one[2] if one[0] == "brackets" and one[1] == "(" else one
                        for one in (above, below))  # fmt: skip
        return f"<mfrac>{self.of(above)}{self.of(below)}</mfrac>"

    def _power(self, base: Node, exponent: Node, _: bool) -> str:
        if base == ("name", "e"):
            return f"<msup><mi>e</mi>{self.of(exponent)}</msup>"
        return f"<msup>{self.of(base, True)}{self.of(exponent)}</msup>"

    def _product(self, factors: list[Node], stars: list[bool], guarded: bool) -> str:
        parts = [self.of(factors[0], guarded)]
        for star, factor in zip(stars[1:], factors[1:], strict=True):
            times = "·" if self.numbers is not None or star else "&#x2062;"
            parts += [f"<mo>{times}</mo>", self.of(factor, True)]
        return f"<mrow>{''.join(parts)}</mrow>"

    def _expr(self, signs: list[str], terms: list[Node], _: bool) -> str:
        parts = []
        for sign, term in zip(signs, terms, strict=True):
            parts += [f"<mo>{sign.replace('-', '−')}</mo>"] if sign else []
            parts.append(self.of(term, bool(sign)))
        return f"<mrow>{''.join(parts)}</mrow>"

    def _cases(
        self, first: Node, sides: list[Node], signs: list[str], other: Node, guarded: bool
    ) -> str:
        if self.numbers is not None:
            holds = _compared(sides, signs, self.numbers, self.definitions)
            return self.of(first if holds else other, guarded)
        condition = f"<mtext>where&#xA0;</mtext>{self.of(sides[0])}"
        for sign, side in zip(signs, sides[1:], strict=True):
            condition += f"<mo>{escape(sign)}</mo>{self.of(side)}"
        lines = [(first, condition), (other, "<mtext>elsewhere</mtext>")]
        rows = "".join(
            f"<mtr><mtd>{self.of(value)}</mtd><mtd>{told}</mtd></mtr>" for value, told in lines
        )
        return f'<mrow><mo>{{</mo><mtable class="cases">{rows}</mtable></mrow>'

    def _sum(self, index: str, inner: Node, _: bool) -> str:
        if self.numbers is None:
            sign = f"<munder><mo>∑</mo><mi>{index}</mi></munder>" if index else "<mo>∑</mo>"
            return f"<mrow>{sign}{self.of(inner)}</mrow>"
        terms: list[str] = []
        for values in self.numbers.each:
            of_one = Numbers({**self.numbers.values, **values}, self.numbers.each)
            terms.append(_Shown(of_one, self.definitions).of(inner, bool(terms)))
        several = len(terms) > 1
        added = "<mo>+</mo>".join(terms)
        return f"<mrow><mo>(</mo>{added}<mo>)</mo></mrow>" if several else f"<mrow>{added}</mrow>"


# --- values


def value(node: Node, numbers: Numbers) -> float:
    """What a formula without sums comes to."""
    return _value(node, numbers, node[3])


def _value(node: Node, numbers: Numbers, definitions: dict[str, Node]) -> float:
    def of(one: Node) -> float:
        return _value(one, numbers, definitions)

    match node:
        case ("formula", sides, *_):
            return of(sides[-1])
        case ("number", text):
            return float(text)
        case ("name", name):
            return numbers.values[name] if name in numbers.values else of(definitions[name])
        case ("call", name, arguments):
            return float(FUNCTIONS[name](*map(of, arguments)))
        case ("brackets", opening, inner):
            return abs(of(inner)) if opening == "|" else of(inner)
        case ("fraction", above, below):
            return of(above) / of(below)
        case ("power", ("name", "e"), exponent):
            return math.exp(of(exponent))
        case ("power", base, exponent):
            return float(of(base) ** of(exponent))
        case ("product", factors, _):
            return math.prod(map(of, factors))
        case ("expr", signs, terms):
            pairs = zip(signs, terms, strict=True)
            return sum(-of(term) if sign == "-" else of(term) for sign, term in pairs)
        case ("cases", first, sides, signs, other):
            return of(first if _compared(sides, signs, numbers, definitions) else other)
    raise ValueError(f"no value: {node}")


def _compared(
    sides: list[Node], signs: list[str], numbers: Numbers, definitions: dict[str, Node]
) -> bool:
    values = [_value(side, numbers, definitions) for side in sides]
    pairs = zip(values, signs, values[1:], strict=False)
    return all(left < right if sign == "<" else left > right for left, sign, right in pairs)
