"""Writes `BUILD` from the imports: `python tests/build_graph.py --write`.

Each module of `mma_tf` and each test becomes a Bazel target whose deps are what its
source imports, wherever the import stands: at the top, in a function or for the type
checker alone. Nothing is run. Without `--write` it only says whether `BUILD` is right.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "mma_tf"
TESTS = "tests"

# What is installed for an import. tensorflow-datasets forgets one of its own.
DISTRIBUTIONS = {
    "PIL": ("pillow",),
    "absl": ("absl-py",),
    "keras": ("keras",),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "psutil": ("psutil",),
    "pytest": ("pytest",),
    "requests": ("requests",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "tensorboard": ("tensorboard",),
    "tensorflow": ("tensorflow",),
    "tensorflow_datasets": ("importlib-resources", "tensorflow-datasets"),
}

# What a test reads besides what it imports and the `testdata` folders beside it.
DATA = {
    "tests/test_build_graph.py": (
        '["BUILD"] + glob(["mma_tf/**/*.py", "tests/**/*.py"])'
    ),
    "tests/test_launcher.py": 'glob(["bin/*"])',
    "tests/test_readme.py": '["README.md"] + glob(["mma_tf/**/*.py", "tests/**/*.py"])',
}

HEADER = """\
# Made from the imports, not by hand: python tests/build_graph.py --write

load("@pypi//:requirements.bzl", "requirement")
load("@rules_python//python:py_binary.bzl", "py_binary")
load("@rules_python//python:py_library.bzl", "py_library")
load("@rules_python//python:py_test.bzl", "py_test")

package(default_visibility = ["//visibility:public"])
"""


class ImportProblem(Exception):
    """An import that no target can be named for."""


@dataclass(frozen=True)
class Module:
    """What one source file needs.

    Attributes:
        name: Dotted name, that of the folder for an `__init__.py`.
        path: Path below the repository's root, with slashes.
        imports: Modules of the repository that the source imports.
        named: Modules that it names in strings alone: in a package whose names are
            loaded when first used, or in a test that runs a module by its name.
        distributions: Packages of the index that it imports.
        is_program: Whether it does something when it is run.
    """

    name: str
    path: str
    imports: frozenset[str]
    named: frozenset[str]
    distributions: frozenset[str]
    is_program: bool

    @property
    def needs(self) -> frozenset[str]:
        """All modules of the repository that it cannot work without."""
        return self.imports | self.named


def read_modules(root: Path = ROOT) -> dict[str, Module]:
    """Returns the modules of the library and the tests below `root`, by name."""
    paths = {
        _module_name(path.relative_to(root)): path
        for folder in (LIBRARY, TESTS)
        for path in sorted(root.glob(f"{folder}/**/*.py"))
    }
    trees = {name: ast.parse(path.read_text()) for name, path in paths.items()}
    bound = {name: frozenset(_top_level_names(tree)) for name, tree in trees.items()}
    return {
        name: _read_module(name, path.relative_to(root), trees[name], bound)
        for name, path in paths.items()
    }


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _top_level_names(tree: ast.Module) -> Iterator[str]:
    """Yields the names that a module binds, other than by assignment."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.If | ast.Try):
            pending += [*node.body, *node.orelse]


def _read_module(
    name: str, path: Path, tree: ast.Module, bound: dict[str, frozenset[str]]
) -> Module:
    imports: set[str] = set()
    distributions: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for target, attribute in _imported(tree, package):
        first = target.partition(".")[0]
        if first in (LIBRARY, TESTS):
            submodule = f"{target}.{attribute}"
            # A package may bind a function under the name of its module: attacks.pgd.
            if submodule in bound and attribute not in bound.get(target, ()):
                imports.add(submodule)
            elif target in bound:
                imports.add(target)
            elif any(known.startswith(f"{target}.") for known in bound):
                raise ImportProblem(f"{path}: {target} has no {attribute}")
            else:
                raise ImportProblem(f"{path}: there is no module {target}")
        elif first in DISTRIBUTIONS:
            distributions.update(DISTRIBUTIONS[first])
        elif first not in sys.stdlib_module_names:
            raise ImportProblem(
                f"{path}: which package of the index gives {first}? Name it in"
                " DISTRIBUTIONS in tests/build_graph.py."
            )
    named: set[str] = set()
    if "__getattr__" in bound[name] or name.partition(".")[0] == TESTS:
        named.update(text for text in _strings(tree) if text in bound)
    if "__getattr__" in bound[name]:
        inside = (f"{package}.{text}" for text in _strings(tree))
        named.update(full for full in inside if full in bound)
    itself = {name}
    return Module(
        name=name,
        path=path.as_posix(),
        imports=frozenset(imports - itself),
        named=frozenset(named - imports - itself),
        distributions=frozenset(distributions),
        is_program=any(map(_is_main_guard, tree.body)),
    )


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Yields (module, name taken from it or "") of every import statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                module = ".".join([*above, module] if module else above)
            yield from ((module, alias.name) for alias in node.names)


def _strings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_main_guard(node: ast.stmt) -> bool:
    guard = ast.dump(ast.parse('__name__ == "__main__"', mode="eval").body)
    return isinstance(node, ast.If) and ast.dump(node.test) == guard


def render(modules: dict[str, Module], root: Path = ROOT) -> str:
    """Returns the text of `BUILD`."""
    rules = [_render_rule(modules[name], modules, root) for name in sorted(modules)]
    programs = [
        _render_program(module)
        for name, module in sorted(modules.items())
        if name.startswith(f"{LIBRARY}.cli.") and module.is_program
    ]
    return "\n".join([HEADER, *programs, *rules])


def target_of(name: str) -> str:
    """Returns the target's name: the path below the library, or the test's path."""
    first, _, rest = name.partition(".")
    return (rest if first == LIBRARY and rest else name).replace(".", "/")


def _render_program(module: Module) -> str:
    return _rule(
        "py_binary",
        name=_quoted(module.name.rpartition(".")[2]),
        srcs=_list([_quoted(module.path)]),
        main=_quoted(module.path),
        deps=_list([_quoted(f":{target_of(module.name)}")]),
    )


def _render_rule(module: Module, modules: dict[str, Module], root: Path) -> str:
    path = Path(module.path)
    is_test = path.parts[0] == TESTS and path.name.startswith("test_")
    needed = set(module.needs)
    if is_test:
        # pytest loads these by itself.
        folders = (".".join(path.parts[:n]) for n in range(1, len(path.parts)))
        needed.update({f"{folder}.conftest" for folder in folders} & set(modules))
    installed = module.distributions | ({"pytest"} if is_test else set())
    dependencies = _list(
        [
            *(_quoted(label) for label in sorted(f":{target_of(n)}" for n in needed)),
            *(f"requirement({_quoted(name)})" for name in sorted(installed)),
        ]
    )
    shared = {
        "name": _quoted(target_of(module.name)),
        "srcs": _list([_quoted(module.path)]),
        "deps": dependencies,
    }
    if is_test:
        # Slow tests too: Bazel has its own choice of what to run.
        options = "--override-ini=addopts=--import-mode=importlib", "-pno:cacheprovider"
        arguments = _list([_quoted(text) for text in (*options, module.path)])
        data = _render_data(path, root)
        return _rule(
            "py_test", **shared, main_module='"pytest"', args=arguments, data=data
        )
    testonly = "True" if path.parts[0] == TESTS else ""
    return _rule("py_library", **shared, testonly=testonly)


def _render_data(path: Path, root: Path) -> str:
    folders = (parent / "testdata" for parent in path.parents if parent.name)
    patterns = [f"{f.as_posix()}/**" for f in folders if (root / f).is_dir()]
    parts = ['["pyproject.toml"]']
    if patterns:
        parts.append(f"glob([{', '.join(map(_quoted, sorted(patterns)))}])")
    if path.as_posix() in DATA:
        parts.append(DATA[path.as_posix()])
    return " + ".join(parts)


def _rule(kind: str, **attributes: str) -> str:
    order = ("name", "testonly", "srcs", "args", "data", "main", "main_module", "deps")
    lines = [f"    {key} = {attributes[key]}," for key in order if attributes.get(key)]
    return "\n".join([f"{kind}(", *lines, ")", ""])


def _quoted(text: str) -> str:
    return f'"{text}"'


def _list(items: list[str]) -> str:
    """Returns a list as Bazel's formatter lays it out; empty text for an empty one."""
    if len(items) < 2:
        return f"[{items[0]}]" if items else ""
    return "\n".join(["[", *(f"        {item}," for item in items), "    ]"])


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks `BUILD`; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="rewrite BUILD")
    write = parser.parse_args(arguments).write
    build = ROOT / "BUILD"
    try:
        text = render(read_modules())
    except ImportProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    if write:
        build.write_text(text)
    elif not build.exists() or build.read_text() != text:
        print("BUILD is out of date: run python tests/build_graph.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
