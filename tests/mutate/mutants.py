"""Changes to a module, each of which takes one condition out of it. Made from its syntax tree, so
that a condition written tomorrow is tried by itself. No I/O.

What is changed, one at a time, in the functions and constants that a `Target` names:

- an operand of `and`, `or` or `|` is left out;
- the condition of an `if`, a conditional expression or a comprehension always, or never, holds;
  of a `while` never, of an `if` that raises an error likewise: it refuses;
- a comparison, a row of a table (a lambda), or what a predicate returns, is always true or false;
- a call for its effect, a `raise`, or the body of an `except` does nothing;
- an element is left out of a tuple, list or set that is named, gone through or compared with, a row
  of a table, or an argument of a variadic predicate;
- a role is another one; a file is opened for writing; a keyword's True is False, and the reverse.

Words for people (f-strings, messages of exceptions) and assertions are left alone.
"""

import ast
import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

ROLES = {"SOURCE": "TARGET", "TARGET": "SOURCE", "UNDECIDED": "TARGET"}
OPEN_FLAGS = {"O_RDONLY": "O_RDWR"}
VARIADIC = frozenset({"has"})  # predicates that hold when any of their arguments is met
SPOKEN = frozenset({"monitor", "note", "note_once", "warn"})  # calls that only tell people
_NOT_CODE = frozenset({"annotation", "returns", "args", "decorator_list", "type_params"})
_DISPLAYS = (ast.Tuple, ast.List, ast.Set)
Scope = ast.FunctionDef | ast.Assign | ast.AnnAssign


class TargetError(Exception):
    """A target names what its module does not have."""


@dataclass(frozen=True)
class Target:
    """A module whose functions (`Class.method`) and constants are tried, all but those left out
    for a reason, and the unit tests that guard them, the likeliest first.

    With `only` these alone. `but` maps a name to the reason for leaving it out.
    """

    module: str
    tests: tuple[str, ...]
    only: tuple[str, ...] = ()
    but: tuple[tuple[tuple[str, ...], str], ...] = ()

    @property
    def left_out(self) -> frozenset[str]:
        return frozenset(name for names, _ in self.but for name in names)


@dataclass(frozen=True)
class Mutant:
    """One change: child `position` (None: no list) of `field` of the node numbered `parent`, in
    the order of `ast.walk`, becomes `new`, or goes where that is None."""

    module: str
    scope: str  # the function or constant
    line: int
    change: str  # "`a == b` is always True"
    parent: int
    field: str
    position: int | None
    is_in_function: bool
    new: ast.AST | None = dataclasses.field(compare=False)  # `change` says it

    @property
    def name(self) -> str:
        return f"{self.module}.{self.scope}: {self.change}"

    def __str__(self) -> str:
        return f"{self.module}.{self.scope}, line {self.line}: {self.change}"


def mutants_of(target: Target, source: str) -> list[Mutant]:
    """Every change to this text of the module. Raises TargetError when a name is not in it."""
    tree = ast.parse(source)
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    scopes = dict(scopes_of(tree))
    if missing := (set(target.only) | target.left_out) - set(scopes):
        raise TargetError(f"{target.module} has no {', '.join(sorted(missing))}.")
    wanted = target.only or tuple(name for name in scopes if name not in target.left_out)
    made = [
        change.mutant(target.module, name, numbers, isinstance(scopes[name], ast.FunctionDef))
        for name in wanted
        for change in _changes(scopes[name])
    ]
    return list(_numbered(made))


def _numbered(made: Sequence[Mutant]) -> Iterator[Mutant]:
    """Changes of equal words in one function are told apart by a number."""
    seen: dict[str, int] = {}
    for mutant in made:
        count = seen[mutant.name] = seen.get(mutant.name, 0) + 1
        if count == 1:
            yield mutant
        else:
            yield replace(mutant, change=f"{mutant.change} (no. {count})")


def mutate(source: str, mutant: Mutant) -> ast.Module:
    """The module with this change, ready to be compiled."""
    tree = ast.parse(source)
    parent = list(ast.walk(tree))[mutant.parent]
    new = copy.deepcopy(mutant.new)
    if mutant.position is None:
        setattr(parent, mutant.field, new)
    else:
        children = getattr(parent, mutant.field)
        children[mutant.position : mutant.position + 1] = [] if new is None else [new]
    if isinstance(parent, ast.BoolOp) and len(parent.values) == 1:
        parent.values.append(parent.values[0])  # alone it is what it was: `a and a`
    if isinstance(parent, ast.Dict):
        del parent.values[mutant.position or 0]
    return ast.fix_missing_locations(tree)


def scopes_of(tree: ast.Module) -> Iterator[tuple[str, Scope]]:
    """Functions, methods and constants by their qualified names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{node.name}.{method.name}", method
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


@dataclass(frozen=True)
class _Change:
    parent: ast.AST
    field: str
    position: int | None
    old: ast.AST
    words: str
    new: ast.AST | None

    def mutant(
        self, module: str, scope: str, numbers: dict[int, int], is_in_function: bool
    ) -> Mutant:
        return Mutant(
            module,
            scope,
            line=getattr(self.old, "lineno", 0),
            change=self.words,
            parent=numbers[id(self.parent)],
            field=self.field,
            position=self.position,
            is_in_function=is_in_function,
            new=self.new,
        )


def _changes(scope: Scope) -> Iterator[_Change]:
    is_constant = not isinstance(scope, ast.FunctionDef)
    is_predicate = isinstance(scope, ast.FunctionDef) and (
        isinstance(scope.returns, ast.Name) and scope.returns.id == "bool"
    )
    conditions = {id(node) for node in _lists_of_conditions(scope)}
    for parent, name, position, node in _children(scope):
        is_condition = is_constant or id(parent) in conditions
        if name == "elts" and isinstance(parent, _DISPLAYS) and _is_read(parent) and is_condition:
            words = f"without the element `{_short(node)}`"
            yield _Change(parent, name, position, node, words, None)
        for words, new in _replacements(parent, name, node, is_constant, is_predicate):
            yield _Change(parent, name, position, node, words, new)


def _lists_of_conditions(scope: ast.AST) -> Iterator[ast.AST]:
    """Displays of which each element says something: given a name, gone through, or compared with.
    Not those that are an answer of several parts, or the words of a command."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.value
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.iter
        elif isinstance(node, ast.Compare):
            yield from node.comparators


def _children(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node below, with where it hangs. Not what is no code, or only words."""
    for name, value in ast.iter_fields(node):
        if name in _NOT_CODE and not isinstance(node, ast.Call):
            continue
        for position, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            yield node, name, position, child
            if not isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert):
                yield from _children(child)


def _replacements(
    parent: ast.AST, name: str, node: ast.AST, is_constant: bool, is_predicate: bool
) -> Iterator[tuple[str, ast.AST | None]]:
    text = _short(node)
    if _is_condition(parent, name):
        yield f"`{text}` never holds", ast.Constant(False)
        if not isinstance(parent, ast.While) and not _refuses(parent):
            yield f"`{text}` always holds", ast.Constant(True)
    elif (
        (isinstance(node, ast.Compare) and not isinstance(parent, ast.BoolOp | ast.UnaryOp))
        or (isinstance(parent, ast.Lambda) and is_constant and name == "body")
        or (isinstance(parent, ast.Return) and is_predicate)
    ):
        for value in (True, False):
            if not (isinstance(node, ast.Constant) and node.value is value):
                yield f"`{text}` is always {value}", ast.Constant(value)
    if isinstance(parent, ast.BoolOp) and name == "values":
        word = "and" if isinstance(parent.op, ast.And) else "or"
        yield f"without `{word} {text}`", None
    if isinstance(parent, ast.Dict) and name == "keys" and is_constant:
        yield f"without the entry `{text}`", None
    if isinstance(parent, ast.Call) and name == "args" and _called(parent) in VARIADIC:
        yield f"without the argument `{text}`", None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        for kept, left_out in ((node.left, node.right), (node.right, node.left)):
            if ast.unparse(left_out) != "os.O_RDONLY":  # which is 0
                yield f"`{_short(kept)}` for `{text}`", kept
    yield from _other_values(parent, name, node)
    yield from _without_effect(parent, node)


def _other_values(parent: ast.AST, name: str, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        swaps = {"Role": ROLES, "os": OPEN_FLAGS}.get(node.value.id, {})
        if other := swaps.get(node.attr):
            new = ast.Attribute(node.value, other, node.ctx)
            yield f"`{_short(new)}` for `{_short(node)}`", new
    if isinstance(parent, ast.keyword) and node is parent.value and _is_switch(node):
        value = ast.unparse(node) == "False"
        yield f"`{parent.arg}` is {value}", ast.Constant(value)


def _without_effect(parent: ast.AST, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        if _called(node.value) not in SPOKEN:
            yield f"`{_short(node)}` is not done", ast.Pass()
    elif isinstance(node, ast.Raise):
        is_guarded = isinstance(parent, ast.If) and parent.body == [node] and not parent.orelse
        if not is_guarded:  # else the same as its condition that never holds
            yield f"`{_short(node)}` is not done", ast.Pass()
    elif isinstance(node, ast.ExceptHandler) and not isinstance(node.body[0], ast.Raise | ast.Pass):
        silent = ast.ExceptHandler(node.type, node.name, [ast.Pass()])
        yield f"`except {_short(node.type)}` passes in silence", silent


def _is_condition(parent: ast.AST, name: str) -> bool:
    is_test = isinstance(parent, ast.If | ast.IfExp | ast.While) and name == "test"
    return is_test or (isinstance(parent, ast.comprehension) and name == "ifs")


def _refuses(node: ast.AST) -> bool:
    """An `if` that raises an error: one that always does overwrites nothing."""
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and not node.orelse


def _is_switch(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_read(node: ast.Tuple | ast.List | ast.Set) -> bool:
    return isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _short(node: ast.AST | None) -> str:
    """The code in one line, as one names it."""
    words = " ".join(ast.unparse(node).split()) if node else ""
    return words if len(words) <= 100 else f"{words[:97]}..."
