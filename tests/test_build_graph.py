"""The architecture: who imports whom, and `BUILD`, which says so to Bazel."""

import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import build_graph
from tests.build_graph import LIBRARY, Module

# A module imports from the layers above its own line, or from its own. A name covers
# the package of that name. To add a module, add its name to the lowest line that works.
LAYERS = (
    ("array_files", "devices", "errors", "files", "locks", "types", "zoo"),
    ("box", "frozen", "inputs", "moves", "noise", "per_example"),
    ("data", "losses", "models", "norms", "recipes"),
    ("attacks",),
    ("evaluation",),
    ("training",),
    (
        "best_model",
        "checkpoints",
        "evaluation_folder",
        "experiment",
        "export",
        "figures",
        "load",
        "methods",
        "published",
        "report",
        "results_table",
        "run_directory",
        "saved_models",
        "strategy",
        "trained_models",
        "versions",
    ),
    ("cli",),
    ("mma_tf",),  # the public names: nothing in the library imports them
)
# Those in one of these lines do not import each other.
SEPARATE = (LAYERS[2],)
# Forbidden though the layers would allow it: importer, imported.
NEVER = (
    ("attacks", "models"),
    ("attacks", "recipes"),
    ("attacks", "data"),
    ("training.mma_model", "evaluation"),
)
# These must start fast: --help loads them.
LIGHT = (
    "mma_tf",
    "mma_tf.recipes",
    "mma_tf.cli.flags",
    "mma_tf.cli.evaluate_flags",
)
HEAVY = {
    "keras",
    "matplotlib",
    "numpy",
    "scipy",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
}


def below_library(name: str) -> str:
    return name.removeprefix(f"{LIBRARY}.")


def is_within(name: str, area: str) -> bool:
    return name == area or name.startswith(f"{area}.")


def layer_of(name: str) -> int:
    area = below_library(name).partition(".")[0]
    (layer,) = (i for i, areas in enumerate(LAYERS) if area in areas)
    return layer


def library_imports(modules: dict[str, Module]) -> Iterator[tuple[str, str]]:
    for module in modules.values():
        if is_within(module.name, LIBRARY):
            yield from ((module.name, name) for name in sorted(module.imports))


def upward_imports(modules: dict[str, Module]) -> list[str]:
    return [
        f"{importer} (layer {layer_of(importer)}) imports"
        f" {imported} (layer {layer_of(imported)})"
        for importer, imported in library_imports(modules)
        if layer_of(importer) < layer_of(imported)
    ]


def sideward_imports(modules: dict[str, Module]) -> list[str]:
    found = []
    for importer, imported in library_imports(modules):
        areas = {below_library(n).partition(".")[0] for n in (importer, imported)}
        if len(areas) == 2 and any(areas <= set(line) for line in SEPARATE):
            found.append(f"{importer} imports {imported}")
    return found


def imports_of_own_package(modules: dict[str, Module]) -> list[str]:
    return [
        f"{importer} imports {imported}, which it is part of"
        for importer, imported in library_imports(modules)
        if importer.startswith(f"{imported}.")
    ]


def cycle(modules: dict[str, Module]) -> list[str]:
    sorter = graphlib.TopologicalSorter({n: m.needs for n, m in modules.items()})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def make_tree(root: Path, files: dict[str, str]) -> dict[str, Module]:
    """The modules of an invented repository, its files given by path."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.startswith(LIBRARY):
            (path.parent / "__init__.py").touch()
            (root / LIBRARY / "__init__.py").touch()
    return build_graph.read_modules(root)


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return build_graph.read_modules()


class TestThisRepository:
    def test_build_says_what_the_imports_say(self, modules):
        build = build_graph.ROOT / "BUILD"
        written = build.read_text() if build.exists() else ""
        assert written == build_graph.render(modules), (
            "BUILD is out of date: run python tests/build_graph.py --write"
        )

    def test_every_module_has_one_layer(self, modules):
        areas = [area for line in LAYERS for area in line]
        used = {
            below_library(name).partition(".")[0]
            for name in modules
            if is_within(name, LIBRARY)
        }
        assert len(areas) == len(set(areas))
        assert used <= set(areas), "name it in LAYERS, in tests/test_build_graph.py"

    def test_imports_point_to_lower_layers(self, modules):
        assert upward_imports(modules) == []

    def test_separate_packages_do_not_import_each_other(self, modules):
        assert sideward_imports(modules) == []

    def test_no_module_imports_its_own_package(self, modules):
        assert imports_of_own_package(modules) == []

    def test_imports_have_no_cycle(self, modules):
        assert cycle(modules) == []

    def test_the_library_does_not_import_the_tests(self, modules):
        found = [pair for pair in library_imports(modules) if "tests" in pair[1]]
        assert found == []

    @pytest.mark.parametrize(("importer", "imported"), NEVER)
    def test_forbidden_import_is_absent(self, modules, importer, imported):
        found = [
            pair
            for pair in library_imports(modules)
            if is_within(below_library(pair[0]), importer)
            and is_within(below_library(pair[1]), imported)
        ]
        assert found == []

    def test_recipes_need_the_standard_library_alone(self, modules):
        recipes = [m for n, m in modules.items() if is_within(n, "mma_tf.recipes")]
        assert recipes
        assert {m.name: set(m.distributions) for m in recipes if m.distributions} == {}

    @pytest.mark.parametrize("name", LIGHT)
    def test_what_help_needs_loads_nothing_heavy(self, modules, name):
        loaded = [known for known in sorted(modules) if is_within(known, name)]
        loaded = [name] if name == LIBRARY else loaded
        code = "import importlib, sys\nfor name in sys.argv[1:]:\n"
        code += "    importlib.import_module(name)\nprint(*sys.modules)"
        result = subprocess.run(
            [sys.executable, "-c", code, *(loaded or [name])],
            cwd=build_graph.ROOT,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert set(result.stdout.split()) & HEAVY == set()


class TestChecks:
    """The checks above must be able to fail."""

    def test_upward_import_is_found(self, tmp_path):
        files = {"mma_tf/box.py": "import mma_tf.attacks", "mma_tf/attacks/a.py": ""}
        (found,) = upward_imports(make_tree(tmp_path, files))
        assert found == "mma_tf.box (layer 1) imports mma_tf.attacks (layer 3)"

    def test_downward_import_is_allowed(self, tmp_path):
        files = {"mma_tf/attacks/a.py": "import mma_tf.box", "mma_tf/box.py": ""}
        assert upward_imports(make_tree(tmp_path, files)) == []

    def test_sideward_import_is_found(self, tmp_path):
        files = {"mma_tf/data/a.py": "import mma_tf.norms.b", "mma_tf/norms/b.py": ""}
        (found,) = sideward_imports(make_tree(tmp_path, files))
        assert found == "mma_tf.data.a imports mma_tf.norms.b"

    def test_import_within_a_separate_package_is_allowed(self, tmp_path):
        files = {"mma_tf/data/a.py": "import mma_tf.data.b", "mma_tf/data/b.py": ""}
        assert sideward_imports(make_tree(tmp_path, files)) == []

    def test_import_of_own_package_is_found(self, tmp_path):
        files = {"mma_tf/data/a.py": "from mma_tf.data import something"}
        assert len(imports_of_own_package(make_tree(tmp_path, files))) == 1

    def test_cycle_is_found(self, tmp_path):
        files = {
            "mma_tf/data/a.py": "import mma_tf.data.b",
            "mma_tf/data/b.py": "def f():\n    import mma_tf.data.a",
        }
        found = cycle(make_tree(tmp_path, files))
        assert set(found) == {"mma_tf.data.a", "mma_tf.data.b"}

    def test_module_without_a_layer_is_an_error(self):
        with pytest.raises(ValueError):
            layer_of("mma_tf.unheard_of")


class TestReading:
    @pytest.mark.parametrize(
        "source",
        [
            "import mma_tf.inner.b",
            "import mma_tf.inner.b as b",
            "from mma_tf.inner.b import f",
            "from mma_tf.inner import b",
            "from .inner import b",
            "from .inner.b import f",
            "def g():\n    from mma_tf.inner.b import f",
            "if TYPE_CHECKING:\n    import mma_tf.inner.b",
        ],
    )
    def test_import_in_every_form_is_seen(self, tmp_path, source):
        files = {"mma_tf/a.py": source, "mma_tf/inner/b.py": ""}
        modules = make_tree(tmp_path, files)
        assert modules["mma_tf.a"].imports == {"mma_tf.inner.b"}

    def test_name_that_a_package_binds_is_not_its_module(self, tmp_path):
        files = {
            "mma_tf/inner/__init__.py": "from mma_tf.inner.b import b",
            "mma_tf/inner/b.py": "def b(): ...",
            "mma_tf/a.py": "from mma_tf.inner import b",
        }
        assert make_tree(tmp_path, files)["mma_tf.a"].imports == {"mma_tf.inner"}

    def test_lazy_package_needs_what_it_names_but_does_not_import_it(self, tmp_path):
        files = {
            "mma_tf/__init__.py": (
                "HOMES = {'f': 'mma_tf.a', 'g': 'inner'}\ndef __getattr__(name): ..."
            ),
            "mma_tf/a.py": "",
            "mma_tf/inner/b.py": "",
        }
        facade = make_tree(tmp_path, files)["mma_tf"]
        assert facade.named == {"mma_tf.a", "mma_tf.inner"}
        assert facade.imports == set()

    def test_strings_of_other_modules_mean_nothing(self, tmp_path):
        files = {"mma_tf/a.py": "X = 'mma_tf.b'", "mma_tf/b.py": ""}
        assert make_tree(tmp_path, files)["mma_tf.a"].needs == set()

    def test_packages_of_the_index_have_their_own_names(self, tmp_path):
        source = "import os\nimport sklearn.datasets\nfrom absl import flags"
        modules = make_tree(tmp_path, {"mma_tf/a.py": source})
        assert modules["mma_tf.a"].distributions == {"absl-py", "scikit-learn"}

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("import unheard_of", "DISTRIBUTIONS"),
            ("import mma_tf.unheard_of", "no module mma_tf.unheard_of"),
            ("from mma_tf.unheard_of import f", "no module mma_tf.unheard_of"),
        ],
    )
    def test_unknown_import_is_an_error(self, tmp_path, source, message):
        with pytest.raises(build_graph.ImportProblem, match=message):
            make_tree(tmp_path, {"mma_tf/a.py": source})


class TestRendering:
    @pytest.fixture
    def rules(self, tmp_path: Path) -> dict[str, str]:
        """The rules of an invented repository's `BUILD`, by name."""
        guard = "\nif __name__ == '__main__':\n    run()\n"
        files = {
            "mma_tf/a.py": "import numpy as np",
            "mma_tf/cli/prog.py": f"import mma_tf.a{guard}",
            "tests/conftest.py": "import mma_tf.a",
            "tests/cli/test_prog.py": "PROGRAM = 'mma_tf.cli.prog'",
        }
        modules = make_tree(tmp_path, files)
        (tmp_path / "tests" / "cli" / "testdata").mkdir()
        rules = build_graph.render(modules, tmp_path).split("\n\n")
        return {rule.split('"')[1]: rule for rule in rules if "name = " in rule}

    def test_module_is_a_library(self, rules):
        assert rules["a"].strip() == (
            "py_library(\n"
            '    name = "a",\n'
            '    srcs = ["mma_tf/a.py"],\n'
            '    deps = [requirement("numpy")],\n'
            ")"
        )

    def test_command_is_a_program_and_a_library(self, rules):
        assert rules["cli/prog"].startswith("py_library(")
        assert rules["prog"].strip() == (
            "py_binary(\n"
            '    name = "prog",\n'
            '    srcs = ["mma_tf/cli/prog.py"],\n'
            '    main = "mma_tf/cli/prog.py",\n'
            '    deps = [":cli/prog"],\n'
            ")"
        )

    def test_test_has_its_data_its_conftest_and_the_program_that_it_runs(self, rules):
        rule = rules["tests/cli/test_prog"]
        assert rule.startswith("py_test(")
        assert '    main_module = "pytest",\n' in rule
        assert 'data = ["pyproject.toml"] + glob(["tests/cli/testdata/**"])' in rule
        assert (
            "    deps = [\n"
            '        ":cli/prog",\n'
            '        ":tests/conftest",\n'
            '        requirement("pytest"),\n'
            "    ],\n"
        ) in rule

    def test_what_tests_share_is_for_tests_only(self, rules):
        assert "    testonly = True,\n" in rules["tests/conftest"]
        assert "testonly" not in rules["a"]
