"""How is the documentation site built? Sphinx over the Markdown of this folder; ``make docs-html`` builds it."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "mezzotint"
author = "the mezzotint developers"
copyright = f"2026, {author}"
release = version = installed("mezzotint")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["toc.not_included"]  # decisions are listed by their README

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # the site is built without a network

html_theme = "furo"
html_title = "mezzotint"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e99", "color-brand-content": "#0b6e99"},
    "dark_css_variables": {"color-brand-primary": "#58b6e0", "color-brand-content": "#58b6e0"},
}
