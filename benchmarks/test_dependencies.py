"""Finds the test files that depend on a module, from the imports in the sources."""

import ast
import dataclasses
import pathlib
from collections.abc import Iterator

# Tests of how the project is built, not of what it does.
_STRUCTURAL = ("tests/test_floors.py", "tests/test_setup.py")


def _list_names(tree: ast.AST) -> Iterator[str]:
    """Yields the dotted names of all that a file imports, at any level."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@dataclasses.dataclass(frozen=True)
class Dependencies:
    """Which files import which.

    Attributes:
      imports: for each file, relative to the project, the files that it imports.
    """

    imports: dict[str, set[str]]

    def measure_distances(self, module: str) -> dict[str, int]:
        """Returns for every file that depends on `module` by how many imports."""
        distances = {module: 0}
        frontier = [module]
        while frontier:
            users = [f for f, used in self.imports.items() if used & set(frontier)]
            frontier = [file for file in users if file not in distances]
            distance = max(distances.values()) + 1
            distances.update(dict.fromkeys(frontier, distance))
        return distances

    def order_tests(self, module: str) -> tuple[list[str], list[str]]:
        """Returns the test files in the folder that mirrors the module, and others.

        The others are those that depend on it. In both the nearest come first.
        """
        distances = self.measure_distances(module)
        path = pathlib.PurePosixPath(module)
        mirror, others = [], []
        for file in self.imports:
            test = pathlib.PurePosixPath(file)
            if not test.name.startswith("test_") or test.parts[0] != "tests":
                continue
            if file in _STRUCTURAL:
                continue
            if len(path.parts) == 1:
                is_mirror = test == pathlib.PurePosixPath("tests", f"test_{path.name}")
            else:
                is_mirror = test.parent == "tests" / path.parent
            if is_mirror:
                mirror.append(file)
            elif file in distances:
                others.append(file)

        def nearness(file):
            same_name = path.stem in pathlib.PurePosixPath(file).stem
            return distances.get(file, len(self.imports)), not same_name, file

        return sorted(mirror, key=nearness), sorted(others, key=nearness)


def read_dependencies(root: pathlib.Path) -> Dependencies:
    """Reads the imports of every file of the project.

    Files in tests/ import the helpers there by name; those that start entry scripts
    name them as strings.
    """
    folders = ("datasets", "deployment", "nets", "preprocessing", "tests")
    paths = [
        *root.glob("*.py"),
        *(p for f in folders for p in (root / f).rglob("*.py")),
    ]
    files = {}
    for path in paths:
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        parts = parts[1:] if parts[0] == "tests" else parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        files[str(relative)] = ".".join(parts)
    by_name = {name: file for file, name in files.items()}
    scripts = {path.name for path in root.glob("*.py")}
    imports = {}
    for file in sorted(files):
        tree = ast.parse((root / file).read_text())
        used = {by_name[name] for name in _list_names(tree) if name in by_name}
        if file.startswith("tests/"):
            strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
            used |= scripts.intersection(s for s in strings if isinstance(s, str))
        imports[file] = used - {file}
    return Dependencies(imports)
