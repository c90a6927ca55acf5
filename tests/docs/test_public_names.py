"""Every public name is on a page of the site, and says what it takes, gives and raises."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import geonp
from geonp import errors

from .blocks import ROOT

sys.path.insert(0, str(ROOT / "docs" / "_ext"))
from automodules import public_modules

_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) :", re.MULTILINE)
_NOT_TOLD = ("self", "cls", "args", "kwargs")
_NOT_CALLED = (Exception, enum.Enum)
_ELSEWHERE = re.compile(r"\b(?:see|those of|as in|errors?:)\b", re.IGNORECASE)


def _names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the names a module offers, with what they are: listed ones, or else those that it defines."""
    listed = getattr(module, "__all__", None)
    for name in listed if listed is not None else dir(module):
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)) or name.startswith("_"):
            continue
        if listed is not None or value.__module__ == module.__name__:
            yield f"{module.__name__}.{name}", value


def _public() -> dict[str, Any]:
    """Return every public class and function, and the public methods of the classes, by where they are found."""
    out: dict[str, Any] = {}
    for name in ("geonp", *public_modules()):
        module = importlib.import_module(name)
        for path, value in _names(module):
            out[path] = value
            if inspect.isclass(value):
                for key, inside in vars(value).items():
                    plain = inside.__func__ if isinstance(inside, classmethod | staticmethod) else inside
                    if inspect.isfunction(plain) and not key.startswith("_"):
                        out[f"{path}.{key}"] = plain
    return out


PUBLIC = _public()


def test_every_public_name_says_what_it_is() -> None:
    silent = [path for path, value in PUBLIC.items() if not (inspect.getdoc(value) or "").strip()]
    assert not silent


def test_what_a_docstring_lists_exists() -> None:
    wrong = {}
    for path, value in PUBLIC.items():
        listed = set(_listed(_sections(inspect.getdoc(value) or "").get("Parameters", "")))
        unknown = listed - set(_parameters(value)) - _fields(value)
        if unknown:
            wrong[path] = unknown
    assert not wrong, f"listed, but not taken: {wrong}"


def test_every_parameter_is_told() -> None:
    """It is listed or named by the docstring, by its class, module or base; or it is a name of the whole package."""
    usual = _names_of_the_whole_package()
    untold = {}
    for path, value in PUBLIC.items():
        doc = _told(path, value)
        if _ELSEWHERE.search(doc) or not _called(value):
            continue
        missing = [name for name in _parameters(value) if name not in usual and not _named(name, doc)]
        if missing:
            untold[path] = missing
    assert not untold, "\n".join(f"{path}: {names}" for path, names in untold.items())


@pytest.mark.parametrize("name", sorted(n for n in geonp.__all__ if n != "__version__"))
def test_the_names_of_the_package_have_every_section(name: str) -> None:
    """Of what `geonp.NAME` takes every parameter is told, what it gives, and what it raises."""
    value = [getattr(geonp, name) for _ in range(2)][-1]  # a module of that name must not take its place
    assert callable(value), f"geonp.{name} cannot be called once its module is imported"
    if not inspect.isclass(value) and not inspect.isfunction(value):
        value = value.__call__
    doc = inspect.getdoc(value) or ""
    if inspect.isclass(value) and issubclass(value, BaseException | Warning):
        assert doc
        return
    sections = _sections(doc)
    untold = [p for p in _parameters(value) if p not in _listed(sections.get("Parameters", ""))]
    assert not untold, f"geonp.{name} does not tell what {untold} are"
    assert {"Raises"} <= set(sections), f"geonp.{name} has no section Raises"
    assert "Returns" in sections or "return" in doc.split("\n\n")[0].lower(), f"geonp.{name}: returns what?"


def test_errors_that_a_function_raises_are_told() -> None:
    """It has a section Raises, or the text names them or says where they are."""
    ours = {name for name in dir(errors) if name.endswith("Error")}
    untold = {}
    for path, value in PUBLIC.items():
        if not inspect.isfunction(value):
            continue
        doc = inspect.getdoc(value) or ""
        raised = ours & set(re.findall(r"raise (\w+Error)\(", inspect.getsource(value)))
        if raised and not _ELSEWHERE.search(doc) and any(name not in doc for name in raised):
            untold[path] = raised
    assert not untold, "\n".join(f"{path} raises {names}, untold" for path, names in untold.items())


def _called(value: Any) -> bool:
    """Return whether a user would call it: not an error, an enumeration or an abstract class."""
    if inspect.isclass(value):
        protocol = getattr(value, "_is_protocol", False)
        return not (protocol or issubclass(value, _NOT_CALLED) or inspect.isabstract(value))
    return True


def _named(name: str, doc: str) -> bool:
    """Return whether a text names a parameter, as it is written or in plain words, singular or plural."""
    words = [name.removesuffix("s"), *(part.removesuffix("s") for part in name.split("_") if "_" in name)]
    found = [re.search(rf"\b{re.escape(word)}(?:s|es)?\b", doc, re.IGNORECASE) for word in words]
    return bool(found[0]) or (len(found) > 1 and all(found[1:]))


def _told(path: str, value: Any) -> str:
    """Return what is said about a name: by itself, by its class and its bases, and by its module."""
    owner = inspect.getmodule(value)
    said = [inspect.getdoc(value) or "", (owner.__doc__ or "") if owner else ""]
    outer = PUBLIC.get(path.rpartition(".")[0])
    if inspect.isclass(outer):
        said.append(inspect.getdoc(outer) or "")
        said += [inspect.getdoc(getattr(base, value.__name__, None)) or "" for base in outer.__mro__[1:-1]]
    if inspect.isclass(value):
        said += [base.__doc__ or "" for base in value.__mro__[1:-1]]
    return "\n".join(said)


def _names_of_the_whole_package() -> set[str]:
    """Return the names that the table on the page of the Python interface explains once for all."""
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def _sections(doc: str) -> dict[str, str]:
    marks = [(m.group(1), m.start(), m.end()) for m in _HEADING.finditer(doc)]
    ends = [*(start for _, start, _ in marks[1:]), len(doc)][: len(marks)]
    return {title: doc[end:stop] for (title, _, end), stop in zip(marks, ends, strict=True)}


def _listed(section: str) -> list[str]:
    return [name.strip(" *") for line in _ENTRY.findall(section) for name in line.split(",")]


def _parameters(value: Any) -> list[str]:
    try:
        found = inspect.signature(value).parameters
    except (TypeError, ValueError):
        return []
    return [name for name in found if name not in _NOT_TOLD and not name.startswith("_")]


def _fields(value: Any) -> set[str]:
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value)}
    return set(getattr(value, "_fields", ())) | set(getattr(value, "__annotations__", {}))
