"""The contract with the code repository: what `model.py` offers, and how its errors are reported.

build_model(spec, attempt) -> compiled keras.Model
load_data(folder) -> (x, y)                                          optional
augment(x, y) -> (x, y)                                              optional
fit(model, train, validation, *, epochs, callbacks)                  optional
retrain(model, train, validation, *, epochs, callbacks)              optional
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from symtable import symtable
from types import CodeType, ModuleType, TracebackType
from typing import Any

from registry.errors import ConfigError, PipelineError, WorkerFailed
from training.code_copy import copy_code
from training.data.spec import DataSpec
from training.heavy import import_tensorflow

FILE = "model.py"
PACKAGES = ("registry", "training", "retraining", "unit_tests", "serving", "pipelines")
TAIL_LINES = 8
IN_GRAPH = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
NOT_CARRIED = re.compile(r"cannot contain character `/`|All operation names should be unique")
"""What Keras says of an input whose column is called `km/h`, or `dense` as a layer is."""
HINT = "correct it in the code repository, commit and push"
FUNCTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "build_model": (2, ()),
    "load_data": (1, ()),
    "augment": (2, ()),
    "fit": (3, ("epochs", "callbacks")),
    "retrain": (3, ("epochs", "callbacks")),
}
"""What Trainyard calls, with how many values in a row and which by name. `build_model(spec)` does, too."""
CALLS = {
    "build_model": "build_model(spec, attempt)",
    "load_data": "load_data(folder)",
    "augment": "augment(x, y)",
    "fit": "fit(model, train, validation, *, epochs, callbacks)",
    "retrain": "retrain(model, train, validation, *, epochs, callbacks)",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """The functions of one `model.py`; None for those it does not have."""

    code: Path
    build_model: Callable[[DataSpec, int], Any]
    load_data: Callable[[Path], Any] | None = None
    augment: Callable[..., Any] | None = None
    fit: Callable[..., Any] | None = None
    retrain: Callable[..., Any] | None = None


def load_contract(code: Path) -> Contract:
    """Import `model.py` of the folder `code`, from a copy that becomes the current folder and importable for the modules
    beside it: what lies beside `model.py` can be opened by its name there, and what it writes there is lost.

    Raises ConfigError when it is missing, not Python, without `build_model`, or with a function that cannot be called as
    Trainyard calls it; WorkerFailed when it raises.
    """
    code, module = _import_model(code)
    found: dict[str, Any] = {}
    for name in CALLS:
        value = getattr(module, name, None)
        if value is not None and not callable(value):
            raise ConfigError(f"{FILE}: {name} is a {type(value).__name__}, not a function", hint=HINT)
        if value is not None:
            _check_call(name, value)
        found[name] = value
    if found["build_model"] is None:
        raise ConfigError(
            f"{FILE}: there is no function build_model(spec, attempt)", hint="it returns a compiled keras.Model"
        )
    return Contract(code, **found)


def register_own(code: Path) -> frozenset[str]:
    """The names that `model.py` in `code` registers, if there is one: a script of the team's own needs no other of its
    functions. Imports TensorFlow then. Raises as `load_contract` does."""
    if not (code / FILE).is_file():
        return frozenset()
    _import_model(code)
    return registered()


def build(contract: Contract, spec: DataSpec, attempt: int) -> Any:
    """What `build_model` returns: a compiled keras.Model. Raises ConfigError for anything else, WorkerFailed when it raises."""
    import keras

    arguments = (spec, attempt) if _takes(contract.build_model, 2) else (spec,)
    with blame(contract.code, f"{FILE}: build_model failed"):
        model = contract.build_model(*arguments)
    if not isinstance(model, keras.Model):
        raise ConfigError(
            f"{FILE}: build_model returned {_article(model)}, not a keras.Model", hint=_not_a_model_hint(model)
        )
    if not model.compiled:
        raise ConfigError(
            f"{FILE}: build_model returned a model that is not compiled",
            hint="call model.compile(optimizer=…, loss=…, metrics=[…]) before you return it",
        )
    return model


def _not_a_model_hint(model: object) -> str:
    if type(model).__module__.partition(".")[0] in {"torch", "sklearn", "xgboost", "lightgbm", "jax", "flax"}:
        return "Trainyard trains and serves Keras models: docs/reference/limits.md"
    return "end build_model with: return model"


def _import_model(code: Path) -> tuple[Path, ModuleType]:
    """The folder that `model.py` was imported from, a copy, and the module."""
    _compile(code)
    import_tensorflow()  # before their folder is importable: their files must not replace modules of installed packages
    code = copy_code(code)
    os.chdir(code)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(code))
    module = ModuleType("model")
    module.__file__ = str(code / FILE)
    module.__spec__ = importlib.util.spec_from_file_location("model", code / FILE)
    sys.modules["model"] = module
    with blame(code, f"{FILE} could not be imported"):
        exec(_compile(code), module.__dict__)  # noqa: S102  (running this code is what the worker is for)
    return code, module


def _check_call(name: str, function: Callable[..., Any]) -> None:
    """Raise ConfigError when the function cannot be called as it will be: before anything is trained."""
    values, named = FUNCTIONS[name]
    if _takes(function, values, named) or (name == "build_model" and _takes(function, 1)):
        return
    raise ConfigError(
        f"{FILE}: {name}{inspect.signature(function)} cannot be called as {CALLS[name]}",
        hint=f"define it as {CALLS[name]}; other parameters need defaults",
    )


def _takes(function: Callable[..., Any], values: int, named: tuple[str, ...] = ()) -> bool:
    try:
        inspect.signature(function).bind(*range(values), **dict.fromkeys(named))
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not say what they take
        return True
    return True


def offers(code: Path, name: str) -> bool:
    """Whether `model.py` in `code` gives `name` at its top level, by a definition, an assignment or an import, also from
    a module beside it with `*`; found out without running it.

    Raises ConfigError when the file is missing or not Python.
    """
    _compile(code)
    return gives(code / FILE, name)


def gives(path: Path, name: str) -> bool:
    """The same of any Python file."""
    return _gives(path, name, set())


def _gives(path: Path, name: str, seen: set[Path]) -> bool:
    seen.add(path)
    source = path.read_bytes()
    names = symtable(importlib.util.decode_source(source), FILE, "exec").get_symbols()
    given = {each.get_name() for each in names if each.is_assigned() or each.is_imported()}
    imports = (each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.ImportFrom))
    stars = [path.parent.joinpath(*(each.module or "").split(".")) for each in imports if each.names[0].name == "*"]
    beside = [each for star in stars for each in (star.with_suffix(".py"), star / "__init__.py") if each.is_file()]
    return name in given or any(_gives(each, name, seen) for each in beside if each not in seen)


def registered() -> frozenset[str]:
    """The names that `model.py` registered with `@keras.saving.register_keras_serializable()`, after it was imported."""
    import keras

    return frozenset(keras.saving.get_custom_objects())


@contextlib.contextmanager
def blame(code: Path, what: str, hint: str = HINT, repository: str = "code") -> Iterator[None]:
    """Report what a team's code raises as WorkerFailed: the line in their file and the end of their traceback, or `what`
    went wrong when it is not in their file (a loss that does not suit the model, say). `repository`: where the code is from.

    An error that arose in Trainyard's own code on the way (a callback, say) is a bug and passes as it is, as do PipelineErrors
    and lack of memory.
    """
    try:
        yield
    except (PipelineError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() in model.py, too, must not end the worker without a word
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's word for it
            raise MemoryError from error
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if _within(frame.filename, code)]
        if not theirs and _in_trainyard(error.__traceback__):
            raise
        raise WorkerFailed(_describe(what, error, theirs, code), hint=_hint(error, code, repository) or hint) from error


def _describe(what: str, error: BaseException, theirs: list[traceback.FrameSummary], code: Path) -> str:
    text = " ".join(str(error).split())
    message = f"{type(error).__name__}: {text:.500}" if text else type(error).__name__
    if theirs:
        last = theirs[-1]
        lines = "".join(traceback.format_list(theirs)).rstrip().splitlines()[-TAIL_LINES:]
        return f"{_place(last.filename, last.lineno, last.name, code)}: {message}\n" + "\n".join(lines)
    traced = [each for each in IN_GRAPH.finditer(str(error)) if _within(each[1], code)]
    if traced:  # code that TensorFlow has traced has no frames, but its message says where it was
        end = str(error).strip().splitlines()[-1].strip()
        return f"{_place(traced[-1][1], traced[-1][2], traced[-1][3], code)}: {end:.500}"
    return f"{what}: {message}"


def _place(filename: str, line: object, function: str, code: Path) -> str:
    return f"{Path(filename).resolve().relative_to(code.resolve())}, line {line}, in {function}"


def _hint(error: BaseException, code: Path, repository: str) -> str:
    """What to do about a name that Keras does not carry, or a module that is not there; nothing for any other error."""
    if isinstance(error, ValueError) and NOT_CARRIED.search(str(error)):
        return "name the inputs keras.Input((1,), name=column.input_name): Keras does not carry every column's name"
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top, _, rest = error.name.partition(".")
    if rest and top in PACKAGES and ((code / top).is_dir() or (code / f"{top}.py").is_file()):
        return f"rename {top}/ in the {repository} repository: Trainyard has a package of that name"
    return missing_package(error.name, repository)


def missing_package(name: str, repository: str = "code") -> str:
    """What to do about a package that the worker does not have."""
    return (
        f"{name} is not installed where the worker runs: workers have Trainyard's own packages, and those of a "
        f"requirements.txt in the {repository} repository ([runner] packages)"
    )


def _compile(code: Path) -> CodeType:
    try:
        return compiled(code / FILE, HINT)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"the code repository has no {FILE}",
            hint=f"add {FILE} with build_model(spec, attempt), or name your own script as [training] command",
        ) from None


def compiled(path: Path, hint: str) -> CodeType:
    """A team's Python file; raises ConfigError when it is not Python, OSError when it cannot be read."""
    try:
        return compile(path.read_bytes(), str(path), "exec")
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise ConfigError(
            f"{path.name}, line {error.lineno}: {error.msg}" + (f": {line:.80}" if line else ""), hint=hint
        ) from None
    except ValueError as error:  # null bytes, or not UTF-8
        raise ConfigError(f"{path.name} is not Python: {error}", hint=hint) from None


def _within(filename: str, folder: Path) -> bool:
    return Path(filename).resolve().is_relative_to(folder.resolve())


def _in_trainyard(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is in this project; the entry in `blame` itself does not count."""
    packages = [Path(__file__).resolve().parents[2] / each for each in ("registry", "training", "retraining")]
    frames = traceback.extract_tb(trace)[1:]
    return bool(frames) and any(_within(frames[-1].filename, each) for each in packages)


def _article(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
