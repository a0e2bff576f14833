"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import stringify_signature

import mentor_pyg
from mentor_pyg.config import Config
from mentor_pyg.models import MODELS

project = "mentor_pyg"
copyright = "The mentor_pyg authors"
version = release = mentor_pyg.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
]
templates_path = ["_templates"]
html_theme = "furo"
html_title = "mentor_pyg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
# Shown by name, not as what they stand for.
autodoc_type_aliases = {
    name: f"mentor_pyg.config.{name}"
    for name in ("AtLeastOne", "AtLeastZero", "Count", "Positive", "Seed", "Share")
}
python_maximum_signature_line_length = 88
napoleon_custom_sections = ["Shapes"]
myst_heading_anchors = 3

# The pages of docs/tutorials run when they are built: `from_markdown` makes notebooks of them.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove"
nb_render_markdown_format = "gfm"  # It has tables.

# A reference that does not resolve is an error, but for those to other packages, which link where
# their inventories can be read, and for type variables.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(abc|collections|enum|lightning|numpy|pandas|pathlib|torch|torch_geometric)\..*"),
    (r"py:class", r"mentor_pyg\.[\w.]+\._\w+"),
]
# Names that autodoc shows as the source has them, and the base of ModelConfig.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        *("Tensor", "pd.DataFrame", "tuple[str", "Combination", "Semantics", "UserAggregation"),
        "mentor_pyg.models.ranking.RankingConfig",
    )
]
if os.environ.get("DOCS_INTERSPHINX"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "torch_geometric": ("https://pytorch-geometric.readthedocs.io/en/latest", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
    }


DOCS = Path(__file__).parent
COLON = "\0"  # Stands for one where Napoleon must not see it.
TUTORIAL = """---
file_format: mystnb
kernelspec: {name: python3}
---
"""


def before_napoleon(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Give a constant the docstring where it is defined, and hide colons of attributes.

    Napoleon takes what stands before a colon in the docstring of an attribute for its type.
    """
    if what == "data":
        package, _, constant = name.rpartition(".")
        lines[:] = constant_docstring(package, constant)
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", COLON) for line in lines]


def after_napoleon(
    app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]
) -> None:
    """Show the colons again, and say of a model what becomes of new users."""
    lines[:] = [line.replace(COLON, ":") for line in lines]
    for model in MODELS.values():
        if model is obj:
            lines += ["", f"**New users**: {model.new_users()}.", ""]


def constant_docstring(package: str, name: str) -> list[str]:
    """Return the docstring below a constant, in whichever file of a package defines it."""
    file = Path(str(importlib.import_module(package).__file__))
    for path in file.parent.rglob("*.py") if file.name == "__init__.py" else [file]:
        docs = ModuleAnalyzer.for_file(path, package).find_attr_docs()
        if ("", name) in docs:
            return docs["", name]
    raise ValueError(f"{package}.{name} has no docstring where it is defined")


def short_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the types of settings, which are listed below with what they mean."""
    if what == "class" and issubclass(obj, Config):
        return stringify_signature(inspect.signature(obj), show_annotation=False), ""
    return None


def public_bases(app: Sphinx, name: str, obj: object, options: Any, bases: list[Any]) -> None:
    """Show the nearest public class in place of a base that is none."""
    bases[:] = dict.fromkeys(
        next(c for c in b.__mro__ if is_public(c)) if inspect.isclass(b) else b for b in bases
    )


def is_public(cls: type) -> bool:
    """Return whether a class has a page here, or is another package's."""
    package, _, home = ".".join(cls.__module__.split(".")[:2]).partition(".")
    return package != "mentor_pyg" or cls.__name__ in getattr(mentor_pyg, home).__all__


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("source-read", from_markdown)
    app.connect("include-read", from_root)


def relinked(text: str, folder: str) -> str:
    """Return a page of a folder whose links to Markdown that is no page here lead somewhere.

    That is the page that includes the file, if there is one, and else the file as it is.
    """

    def link(found: re.Match[str]) -> str:
        path = Path(os.path.normpath(DOCS / folder / found[1]))
        page = f"project/{path.stem.lower()}.md"
        if path.is_relative_to(DOCS):
            return found[0]
        included = path.parent == DOCS.parent and (DOCS / page).exists()
        return f"](/{page}" if included else f"](path:{found[1]}"

    return re.sub(r"\]\(([\w/.-]+\.md)", link, text)


def from_markdown(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make a notebook of a tutorial, so that its blocks of Python run and show what they print."""
    folder = docname.rpartition("/")[0]
    source[0] = relinked(source[0], folder)
    if folder == "tutorials":
        source[0] = TUTORIAL + source[0].replace("```python\n", "```{code-cell} python\n")


def from_root(app: Sphinx, path: object, docname: str, source: list[str]) -> None:
    """Make the links of a file of the root, which a page in docs/project includes, lead there."""
    source[0] = relinked(re.sub(r"\]\((?!https?:|#)", "](../../", source[0]), "project")
