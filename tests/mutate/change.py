"""Puts a change into code that is imported already, or into a module that is imported later."""

import ast
import gc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from tests.mutate.mutants import Mutant, mutate, scopes_of
from tests.mutate.processes import TrialError

Functions = Mapping[tuple[str, str], Sequence[FunctionType]]


def functions_of(modules: Collection[str]) -> Functions:
    """Module and qualified name -> the functions that run this code, wherever they are kept."""
    names = {_file_of(name): name for name in modules}
    functions: dict[tuple[str, str], list[FunctionType]] = {}
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and (
            module := names.get(function.__code__.co_filename)
        ):
            functions.setdefault((module, function.__code__.co_qualname), []).append(function)
    return functions


def change_function(mutant: Mutant, functions: Functions) -> None:
    """Give the function that a mutant changes its new code."""
    whole = compile(_mutated(mutant), _file_of(mutant.module), "exec")
    (code,) = (one for one in _codes(whole) if one.co_qualname == mutant.scope)
    changed = functions.get((mutant.module, mutant.scope))
    if not changed:
        raise TrialError(f"{mutant.module} has no {mutant.scope} to change.")
    for function in changed:
        function.__code__ = code


def report_calls(functions: Functions, note: Callable[[str, str], None]) -> None:
    """Have each function tell its module and its name when it is called."""
    for module in {module for module, _ in functions}:
        namespace = vars(sys.modules[module])
        namespace["__called__"] = partial(note, module)
        tree = ast.parse(Path(_file_of(module)).read_text())
        scopes = {
            name: scope for name, scope in scopes_of(tree) if isinstance(scope, ast.FunctionDef)
        }
        for name, scope in scopes.items():
            scope.body[:0] = ast.parse(f"__called__({name!r})").body
        whole = compile(ast.fix_missing_locations(tree), _file_of(module), "exec")
        for code in _codes(whole):
            if code.co_qualname in scopes:
                for function in functions.get((module, code.co_qualname), ()):
                    function.__code__ = code


def change_constant(mutant: Mutant) -> None:
    """Give the constant its new value, under its name in each module that imported it."""
    namespace = vars(sys.modules[mutant.module])
    old = namespace[mutant.scope]
    tree = _mutated(mutant)
    tree.body = [node for node in tree.body if mutant.scope in _assigned(node)]
    exec(compile(tree, _file_of(mutant.module), "exec"), namespace)
    for module in list(sys.modules.values()):
        if vars(module).get(mutant.scope) is old:
            setattr(module, mutant.scope, namespace[mutant.scope])


def _mutated(mutant: Mutant) -> ast.Module:
    return mutate(Path(_file_of(mutant.module)).read_text(), mutant)


def _file_of(module: str) -> str:
    file = sys.modules[module].__file__
    assert file is not None
    return file


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return {one.id for one in targets if isinstance(one, ast.Name)}


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads one module with a change."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        return compile(mutate(source, self.mutant), self.path, "exec", dont_inherit=True)


class Finder:
    """An import hook that finds one module, changed. To be put before all others."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:
            raise ImportError(f"There is no module {name} to change.")
        loader = _Loader(name, spec.origin)
        loader.mutant = self._mutant
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)
