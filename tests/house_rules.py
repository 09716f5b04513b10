"""Rules of the house: what the sources keep to, and what does not yet.

Each rule is a function that finds what breaks it, as a set of short strings; its docstring says what to do instead.
``EXCEPTIONS`` names what breaks it today. That table only shrinks: an entry that is not needed fails the test.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "hadaflow"

LONGEST_MODULE = 350
MOST_PARAMETERS = 8
#: The nodes of each module.
SYNTAX = {
    path.relative_to(SOURCES).as_posix(): list(ast.walk(ast.parse(path.read_text("utf-8"))))
    for path in SOURCES.rglob("*.py")
}


def nodes(*kinds):
    """Each node of these kinds, with the module that it stands in."""
    return [(module, node) for module, found in SYNTAX.items() for node in found if isinstance(node, kinds)]


def room(module):
    """The top-level module or folder; an engine of ``solvers``, and the catalogue, count by themselves."""
    parts = module.removesuffix(".py").split("/")
    if parts[:2] == ["experiments", "catalogue"]:
        return "experiments/catalogue"
    return "/".join(parts[: 2 if parts[0] == "solvers" else 1])


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def long_modules():
    """Split it by what it does."""
    folders = {SOURCES: "**/*.py", ROOT / "benchmarks": "*.py", ROOT / "examples": "*.py"}
    files = {path: path.relative_to(base) for base, pattern in folders.items() for path in base.glob(pattern)}
    return {str(name) for path, name in files.items() if path.read_text("utf-8").count("\n") > LONGEST_MODULE}


def imported_names():
    """Each import, by dotted names: of what stands after ``import``, ``from`` and, for the latter, the name taken."""
    for module, node in nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from ((module, alias.name) for alias in node.names)
        else:
            yield from ((module, f"{node.module}.{alias.name}") for alias in node.names)


def private_imports():
    """Give what others need a public name, or move it to where it is needed."""
    found = set()
    for module, name in imported_names():
        parts = name.split(".")
        for place, part in enumerate(parts):
            if not is_private(part):
                continue
            folder = SOURCES.parent.joinpath(*parts[:place])
            folder = folder if folder.is_dir() else folder.parent  # a name in a module: the folder of that
            if parts[0] != "hadaflow" or folder not in (SOURCES / module).parents:
                found.add(f"{module}: {'.'.join(parts[: place + 1])}")
    return found


def classes_of_one_name():
    """Rename one of them after what only it does, or make one of both."""
    places = defaultdict(list)
    for module, node in nodes(ast.ClassDef):
        places[room(module), node.name].append(module)
    return {f"{where}: {name}" for (where, name), modules in places.items() if len(modules) > 1}


def exported(module):
    """What ``__all__`` of the module, and of the packages that it is in, holds."""
    names = set()
    packages = [(folder / "__init__.py").as_posix() for folder in Path(module).parents]
    for page in [module, *packages]:
        for node in SYNTAX[page]:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
                names |= {word.value for word in ast.walk(node.value) if isinstance(word, ast.Constant)}
    return names


def commands():
    """Functions that ``app.command(...)(module.function)`` makes commands."""
    calls = [node for module, node in nodes(ast.Call) if module == "cli/_app.py"]
    made = [call.args[0] for call in calls if isinstance(call.func, ast.Call) and call.args]
    return {f"cli/{function.value.id}.py: {function.attr}" for function in made}


def long_signatures():
    """Group what belongs together in an object; only public doors take more: exports, commands, estimators."""
    found = set()
    for module, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        given = node.args
        taken = {a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {"self", "cls"}
        if len(taken) + bool(given.vararg) + bool(given.kwarg) > MOST_PARAMETERS:
            public = node.name in exported(module) or (node.name == "__init__" and room(module) == "estimators")
            found |= set() if public else {f"{module}: {node.name}"}
    return found - commands()


def asked_with_default():
    calls = [(m, call) for m, call in nodes(ast.Call) if getattr(call.func, "id", None) == "getattr"]
    return {f"{m}: {ast.unparse(call.args[1])}" for m, call in calls if len(call.args) == 3}


def getattr_with_default():
    """Give the protocol a member with a default; only objects that others have written are asked like this."""
    return asked_with_default() - FOREIGN


def array_types():
    """Import them from hadaflow._types."""
    assigned = [(m, node) for m, node in nodes(ast.Assign, ast.AnnAssign) if m != "_types.py" and node.value]
    return {
        f"{module}: {ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)}"
        for module, node in assigned
        if "NDArray" in {getattr(part, "id", None) for part in ast.walk(node.value)}
    }


def asked_for_sparsity():
    asked = [(m, node) for m, node in nodes(ast.Name, ast.Attribute) if "issparse" in vars(node).values()]
    return {module for module, _ in asked if room(module) != "operators"}


def sparse_or_not():
    """Ask an operator (hadaflow.operators), which knows what it holds."""
    return asked_for_sparsity() - READS_INPUT


def identifiers(found):
    """The names among the nodes of a module."""
    named = {getattr(node, field, None) for node in found for field in ("id", "arg", "attr", "name")}
    return {name for name in named if isinstance(name, str)} - KEPT_NAMES


def homely_words():
    """Take the word of the field: each has one in WORDS."""
    found = set()
    for module, syntax in SYNTAX.items():
        for name in identifiers(syntax):
            parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)]
            found |= {f"{word}: {room(module)}" for word in WORDS if word in parts or word == name}
    return found


#: Objects of other libraries and of users, whose members may be missing.
FOREIGN = {
    "_validation.py: 'ndim'",
    "blocks.py: 'shards'",
    "experiments/finding.py: '__module__'",
    "experiments/finding.py: '__name__'",
    "experiments/finding.py: name",
    "experiments/identity.py: '__func__'",
    "experiments/identity.py: '__module__'",
    "experiments/identity.py: '__name__'",
    "experiments/identity.py: 'fget'",
    "experiments/identity.py: 'revision'",
    "experiments/identity.py: name",
    "experiments/transport.py: 'terminate_broken'",
    "operators/partitioned.py: '__self__'",
    "plotting/_fitted.py: 'feature_names_in_'",
    "plotting/_fitted.py: 'path_features_'",
    "plotting/_fitted.py: 'stop_time_'",
}
#: Where data come in.
READS_INPUT = {"_validation.py", "files/_read.py"}
#: The word of the field for each that is none; identifiers in any case, alone or as a part of a name.
WORDS = {
    "_Trip": "Attempt",
    "_Way": "Strategy",
    "bend": "curvature",
    "beside": "compared_with",
    "chance": "level",
    "foretells": "predicts",
    "image_and_pull": "matvec_and_gram",
    "known_by": "fingerprint",
    "moment": "snapshot",
    "pictures": "figures",
    "polygon": "piecewise_linear_path",
    "pull": "negative_gradient",
    "reach": "dual_correlation",
    "share": "fraction",
    "speed": "correlation",
    "tape": "record_buffer",
    "told": "reported",
}
#: Public names that stay: the pull-back of a gradient through a model is a term of the field.
KEPT_NAMES = {"pull_back"}

#: What breaks a rule today. Words: the rooms where each still stands.
EXCEPTIONS = {
    long_modules: set(),
    private_imports: {
        "estimators/_classifier.py: sklearn.linear_model._base",
        "estimators/_validated.py: sklearn.utils.validation._check_sample_weight",
    },
    classes_of_one_name: set(),
    long_signatures: {
        "experiments/trials.py: recovery",
    },
    getattr_with_default: set(),
    array_types: {
        "_sweep.py: Array",
        "experiments/ensembles.py: Matrix",
        "operators/dense.py: Array",
        "solvers/descent/loop.py: Array",
        "solvers/descent/state.py: Array",
        "theory/_support_split.py: Matrix",
    },
    sparse_or_not: {
        "estimators/_prepared.py",
        "estimators/_standardised.py",
    },
    homely_words: {
        f"{word}: {place}"
        for word, places in {
            "bend": "losses",
            "chance": "estimators selection theory",
            "image_and_pull": "operators",
            "moment": "paths",
            "pictures": "experiments/catalogue",
            "pull": "estimators operators selection theory",
            "reach": "estimators experiments/catalogue selection theory",
            "share": "estimators experiments/catalogue selection starts",
            "speed": "solvers/path steps",
            "told": "estimators experiments",
        }.items()
        for place in places.split()
    },
}


def differences(rule):
    """What breaks a rule beyond its exceptions, and the exceptions that are not needed."""
    found, known = rule(), EXCEPTIONS[rule]
    return sorted(found - known), sorted(known - found)


if __name__ == "__main__":  # python tests/house_rules.py
    for rule in EXCEPTIONS:
        new, gone = differences(rule)
        print(f"{rule.__name__}: {rule.__doc__}", *(f"  new: {name}" for name in new), sep="\n")
        print(*(f"  no longer: {name}\n" for name in gone), sep="", end="")
