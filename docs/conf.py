"""How the documentation is built: ``sphinx-build -W -b html docs docs/_build/html``.

Nothing is downloaded. The examples are run for their pictures, unless ``-D plot_gallery=0`` says
otherwise; with ``-j auto`` as many at a time as there are cores. Three kinds of pages are written
at the beginning of a build, into ``docs/generated``: the reference, from the package's public names
(``reference.py``), what each method can, from the classes (``methods_page.py``), and the measured
results, from the files in ``examples/reproduce/results`` (``reproduction.py``, ``table1_page.py``,
``claims_page.py``, ``tried.py``).
``links.py`` checks the links of what was built.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import claims_page  # noqa: E402
import methods_page  # noqa: E402
import reference  # noqa: E402
import reproduction  # noqa: E402
import table1_page  # noqa: E402
import tried  # noqa: E402
import versions  # noqa: E402
from sphinx.util.nodes import make_refnode  # noqa: E402

import skdistill  # noqa: E402

project = "skdistill"
author = "The skdistill developers"
copyright = "The skdistill developers, BSD-3-Clause"
version = release = skdistill.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
# Single backticks, as docstrings have them for names: a link where there is something to link to.
default_role = "py:obj"
# Quotes in docstrings are those of Python's strings.
smartquotes = False

# reference.py lists the members itself: those of this package, and none of scikit-learn's.
autosummary_generate = False
numpydoc_show_class_members = False
autodoc_typehints = "none"
# Sources of other packages are not shown.
viewcode_follow_imported_members = False

html_theme = "pydata_sphinx_theme"
html_title = "skdistill"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
# Beside other versions, as versions.py builds the pages, they have a menu of these.
if "versioned" in tags:  # noqa: F821
    html_theme_options |= versions.menu(release)
html_show_sourcelink = False
# These pages have no pages below them: their tables can have the room of a side bar.
html_sidebars = {
    page: []
    for page in (
        "architecture",
        "changelog",
        "claims",
        "command_line",
        "contributing",
        "engine",
        "getting_started",
        "performance",
        "reproducing",
        "scaling",
        "table1",
        "user_guide/methods",
    )
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    # Scripts with arguments are not examples of the gallery.
    "ignore_pattern": r"(benchmarks|reproduce)",
    "within_subsection_order": "gallery.Order",
    "remove_config_comments": True,
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,
    # As many examples at a time as Sphinx has jobs; one that fails ends the build with an error.
    "parallel": True,
}


def write_generated_pages(app):
    """Write the pages that are made of the package and of the results."""
    generated = Path(app.srcdir, "generated")
    results = HERE.parent / "examples" / "reproduce" / "results"
    reference.write(generated)
    methods_page.write(generated, results)
    reproduction.write(results, generated)
    table1_page.write(generated, results)
    claims_page.write(generated, results)
    tried.write(generated, results)


def find_public_name(app, env, node, contnode):
    """Link a bare name, ``RaTBPTTDistiller`` in another module's docstring, if that is clear."""
    target = node.get("reftarget", "")
    if node.get("reftype") != "obj" or not target or "." in target:
        return None
    domain = env.get_domain("py")
    # Classes begin with a capital and functions hold an underscore: `fit` alone is ambiguous.
    if not (target[0].isupper() or "_" in target):
        return None
    found = [name for name in domain.objects if name.endswith(f".{target}")]
    if len(found) != 1:
        return None
    docname, node_id = domain.objects[found[0]].docname, domain.objects[found[0]].node_id
    return make_refnode(app.builder, node["refdoc"], docname, node_id, contnode, found[0])


def setup(app):
    """Write the generated pages before Sphinx looks for pages, and link bare names."""
    app.connect("builder-inited", write_generated_pages, priority=1)
    app.connect("missing-reference", find_public_name)
