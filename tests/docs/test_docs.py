"""The documentation is complete: parameters and defaults, all public names, links.

``.ci/run`` builds it, with the gallery, and checks the links of the built pages.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
from functools import partial

import gallery
import links
import numpy as np
import pytest
import reference
import reproduction
import tools
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from tools import ROOT

import skdistill
from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill.augmentation import Flip, OneOf
from skdistill.datasets import load_distilled
from skdistill.networks import ConvNet

DOCS = ROOT / "docs"


def public_classes():
    """Return the public classes that have parameters of their own, each once."""
    found = {}
    for module, names in reference.public_modules().items():
        for name in names:
            value = getattr(sys.modules[module], name)
            if inspect.isclass(value) and not issubclass(value, Exception):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [pytest.param(cls, id=name) for name, cls in found.items() if parameters(cls)]


def parameters(cls):
    """Return the defaults of a class's own parameters, by name."""
    return {
        p.name: p.default
        for p in inspect.signature(cls).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def documented(docstring):
    """Return what the section Parameters of a docstring says about each parameter, by name."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", docstring, re.M | re.S)
    found = {}
    for names, kind in re.findall(
        r"^(\w[\w, ]*?) : (.*)$", section.group(1) if section else "", re.M
    ):
        found |= dict.fromkeys(names.split(", "), kind)
    return found


@pytest.mark.parametrize("cls", public_classes())
def test_parameters_are_documented_with_their_defaults(cls):
    expected, found = parameters(cls), documented(inspect.getdoc(cls))
    assert list(found) == list(expected)
    for name, default in expected.items():
        said = re.search(r"default=(.+)$", found[name])
        if default is inspect.Parameter.empty:
            assert said is None, name
        elif type(default).__module__ == "builtins":
            assert said is not None, name
            assert ast.literal_eval(said.group(1)) == default, name


def test_a_wrong_or_missing_default_would_be_seen():
    docstring = "One.\n\nParameters\n----------\na : int\nb, c : int, default=1\n    Text.\n\n"
    assert documented(docstring) == {"a": "int", "b": "int, default=1", "c": "int, default=1"}
    assert len(public_classes()) > 30
    assert RaTBPTTDistiller in [param.values[0] for param in public_classes()]


def test_every_public_name_is_in_the_reference(tmp_path):
    reference.write(tmp_path)
    text = "\n".join(page.read_text(encoding="utf-8") for page in tmp_path.glob("*.rst"))
    for module, names in reference.public_modules().items():
        for name in names:
            directive = rf"\.\. (autoclass|autofunction|py:data):: (skdistill|{re.escape(module)})"
            assert re.search(rf"{directive}\.{name}$", text, re.M), f"{module}.{name}"
    index = (tmp_path / "index.rst").read_text(encoding="utf-8")
    for page in tmp_path.glob("*.rst"):
        if page.name != "index.rst":
            # Each page is in some table of contents.
            assert re.search(rf"^   {re.escape(page.stem)}$", text, re.M), page.name
    assert "skdistill.windows" in index


def test_pages_list_methods_that_the_package_defines_and_no_others(tmp_path):
    page = reference.object_page("skdistill", "RaTBPTTDistiller")
    found = re.findall(r"automethod:: (\w+)", page)
    assert {"fit", "transform", "score", "evaluate", "estimate"} <= set(found)
    assert not {"get_params", "set_params", "set_fit_request"} & set(found)
    assert "autoproperty:: storage" in reference.object_page("skdistill", "DistilledDataset")
    assert "predict_proba" in reference.object_page("skdistill", "DistilledClassifier")


def test_pages_of_names_that_are_gone_are_removed(tmp_path):
    (tmp_path / "skdistill.gone.rst").write_text("gone")
    reference.write(tmp_path)
    assert not (tmp_path / "skdistill.gone.rst").exists()


def test_results_are_rendered_beside_the_papers(tmp_path):
    result = {"mean": 0.5123, "std": 0.0046, "n_networks": 10, "n_samples": 10}
    report = {"data": "CIFAR-10", "results": {"distilled": result, "herding": {"mean": 0.3}}}
    report["results"]["everything"] = {"mean": 0.75, "std": 0.0, "n_networks": 1}
    report["provenance"] = {"parameters": {"ipc": 1}}
    report["curve"] = [{"seconds": 205.25, "outer_steps": 10, "accuracy": 0.4567}]
    (tmp_path / "a.json").write_text(json.dumps(report))
    rows = [{"ipc": 10, "distilled": result, "budgets": [1, 2], "provenance": {"x": 1}}]
    (tmp_path / "b.json").write_text(json.dumps({"data": "CIFAR-100, whitened", "rows": rows}))
    text = reproduction.render(tmp_path)
    assert "51.2 ± 0.5" in text
    first, second = text.split("\na\n-\n")[1].split("\nb\n-\n")
    assert "53.2 ± 0.7" in first
    assert "     - 75.0\n" in first  # of a single network
    assert "\n   * - 205.2\n     - 10\n     - 0.4567\n" in first
    assert "53.2" not in second
    assert "47.5 ± 0.2" in second
    assert "provenance" not in second
    reproduction.write(tmp_path, tmp_path / "generated")
    assert (tmp_path / "generated" / "reproduction.txt").read_text() == text
    assert "47.5 ± 0.2" in (tmp_path / "generated" / "results" / "b.txt").read_text()


def test_summaries_and_curves_are_rendered(tmp_path):
    row = {"method": "BPTT", "curve": {"step": [1, 2], "accuracy": [0.5, 0.625]}, "norm": [1] * 20}
    summary = {"methods": {"BPTT": {"at equal steps": [0.625, 0.0134], "norm": [35.42, 2.04]}}}
    report = {"rows": [row, row], "summary": summary, "parameters": {"width": 64, "seeds": [0, 1]}}
    (tmp_path / "c.json").write_text(json.dumps(report))
    text = reproduction.render(tmp_path)
    assert "0.625 ± 0.013" in text
    assert "35.4 ± 2.0" in text
    assert "parameters: width 64, seeds 0, 1" in text
    assert "at the end: step 2, accuracy 0.625" in text
    assert text.count("- norm") == 1
    # A single seed has no deviation.
    (tmp_path / "c.json").write_text(json.dumps({**report, "rows": [row]}))
    assert "0.625\n" in reproduction.render(tmp_path)
    assert "±" not in reproduction.render(tmp_path).split("mean ±")[1]


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        "3",
        "null",
        '{"rows": [1], "summary": {"methods": {"a": {"b": [1, 2]}}}}',
        '{"rows": []}',
        '{"results": {"a_": null}}',
        '{"summary": {"methods": {"a": 1, "b": {"c": "|"}}}}',
        '{"summary": {"methods": {"b": {"c": [NaN, 0], "d": [0, 0], "e": [Infinity, 1]}}}}',
        '{"parameters": {"a": {}, "b": null}}',
    ],
)
def test_any_file_of_results_is_rendered(tmp_path, content):
    (tmp_path / "odd_name_.json").write_text(content)
    assert "odd name" in reproduction.render(tmp_path)
    assert "have been recorded" in reproduction.render(tmp_path / "none")


def code_blocks(page):
    """Return the Python of a page's code blocks."""
    pattern = r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)"
    return [inspect.cleandoc(code) for code in re.findall(pattern, page.read_text(), re.M)]


def test_python_on_the_pages_compiles():
    pages = [
        page for folder in (".", "howto", "user_guide") for page in (DOCS / folder).glob("*.rst")
    ]
    blocks = [(page, code) for page in pages for code in code_blocks(page)]
    assert len(blocks) > 12
    for page, code in blocks:
        compile(code, str(page), "exec")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_lines_of_the_pitfalls_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(code_blocks(DOCS / "user_guide" / "pitfalls.rst"))
    smaller = {
        "max_iter=20, n_networks=2": "max_iter=1, n_networks=1, eval_steps=3",
        "max_iter=1)": "max_iter=1, n_networks=1, eval_steps=3)",
        "max_iter=1, class_weight": "max_iter=1, n_networks=1, eval_steps=3, class_weight",
        "steps=[10, 30, 100, 300]": "steps=[1, 3]",
    }
    for text, replacement in smaller.items():
        assert code.count(text) == 1, text
        code = code.replace(text, replacement)
    names = {}
    exec(code, names)
    assert (tmp_path / "whitened.npz").exists()
    assert names["X_real"].std().item() == pytest.approx(1, abs=0.1)
    assert (
        "among the classes [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]; got 'three'" in capsys.readouterr().out
    )


def test_the_lines_of_the_first_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(skdistill, "RaTBPTTDistiller", tools.quick)
    for name, value in {"inner_lr": 0.001, "eval_steps": 5}.items():
        monkeypatch.setitem(tools.QUICK, name, value)
    names = {}
    exec("\n".join(code_blocks(DOCS / "getting_started.rst")), names)
    assert names["both"].preprocessing is not None
    assert names["y_pred"].shape == names["y_test"].shape


@pytest.mark.parametrize("protocol", [None, "frepo"])
def test_the_loop_elsewhere_learns(protocol, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    distilled = load_distilled("digits")
    if protocol is not None:
        distilled = distilled.with_protocol(protocol)
        assert (distilled.recipe.loss, distilled.recipe.targets) == ("mse", "centered")
    distilled.save("digits.npz")
    (code,) = (c for c in code_blocks(DOCS / "howto" / "elsewhere.rst") if "optimizer" in c)
    assert code.count("recipe.steps") == 1
    torch.manual_seed(0)
    network = ConvNet((1, 8, 8), 10, width=16, depth=1)
    names = {"network": network, "X_test": digits[1], "y_test": digits[3]}
    names["optimizer"] = torch.optim.Adam(network.parameters(), 0.01)
    exec(code.replace("recipe.steps", "60"), names)
    assert names["accuracy"] > 0.6


def test_the_schedule_of_the_how_to_works(digits):
    names = {}
    exec(code_blocks(DOCS / "howto" / "extend.rst")[0], names)
    settings = {"max_iter": 3, "window": 2, "unroll": 9, "random_state": 0}
    schedule = names["LateWindow"](last=2)
    distiller = RaTBPTTDistiller(image_shape=(1, 8, 8), schedule=schedule, **settings)
    history = distiller.fit(digits[0], digits[2]).history_
    assert history["window"] == [2, 2, 2]
    assert set(history["start"]) <= {6, 7}


def how_to_distiller():
    names = {}
    exec(code_blocks(DOCS / "howto" / "extend.rst")[1], names)
    return names["distiller"].set_params(n_networks=1, eval_steps=20)


def test_the_distiller_of_the_how_to_is_short_and_works(digits):
    X, X_test, y, y_test = digits
    lines = code_blocks(DOCS / "howto" / "extend.rst")[1].splitlines()
    assert len([line for line in lines if line.strip()]) < 80
    distiller = how_to_distiller().set_params(image_shape=(1, 8, 8)).fit(X, y)
    # Its signature has all parameters, and it refuses what it cannot do before any work.
    assert list(inspect.signature(type(distiller)).parameters)[-1] == "decay"
    assert "decay : float, default=0.9" in type(distiller).__doc__
    with pytest.raises(ValueError, match="learn_labels=True must be False"):
        clone(distiller).set_params(learn_labels=True).fit(X, y)
    with pytest.raises(ValueError, match="'decay' parameter"):
        clone(distiller).set_params(decay=1.5).fit(X, y)
    with pytest.raises(NotImplementedError, match="estimate asks MovingMeans for its peak"):
        distiller.estimate(X, y)
    losses = distiller.history_["loss"]
    assert losses[-1] < losses[0] / 3
    assert distiller.extra_["factor"][0] != 1
    assert distiller.score(X_test, y_test) > 0.5


def test_the_distiller_of_the_how_to_resumes_boosts_and_is_searched(digits, tmp_path):
    X, _, y, _ = digits
    make = partial(how_to_distiller().set_params, image_shape=(1, 8, 8))
    whole = make(max_iter=8).fit(X, y)
    path = tmp_path / "run.npz"
    clone(whole).set_params(max_iter=3, checkpoint=path).fit(X, y)
    resumed = clone(whole).set_params(checkpoint=path).fit(X, y)
    np.testing.assert_array_equal(resumed.transform()[0], whole.transform()[0])
    np.testing.assert_array_equal(resumed.extra_["factor"], whole.extra_["factor"])
    warm = clone(whole).set_params(max_iter=3, warm_start=True).fit(X, y)
    np.testing.assert_array_equal(
        warm.set_params(max_iter=8).fit(X, y).transform()[0], whole.transform()[0]
    )
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=clone(whole)).fit(X, y)
    assert boosted.budgets_ == [1, 2]
    search = GridSearchCV(clone(whole), {"decay": [0.5, 0.9]}, cv=2).fit(X, y)
    assert search.cv_results_["mean_test_score"].min() > 0.2


def test_the_inner_optimizer_of_the_how_to_works(digits):
    names = {}
    exec(code_blocks(DOCS / "howto" / "extend.rst")[2], names)
    optimizer = names["Nesterov"](lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    state, grad, bar = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in ((2, 5), 5, (2, 5))
    )
    inputs = [grad.requires_grad_(), state.requires_grad_()]
    new = optimizer.step(state, grad)
    expected = torch.autograd.grad(new, inputs, bar)
    for got, right in zip(optimizer.adjoint(state, new, bar), expected):
        torch.testing.assert_close(got, right, rtol=0, atol=1e-12)
    # As torch has it.
    theta = state[0].detach().clone().requires_grad_()
    theirs = torch.optim.SGD([theta], lr=0.1, momentum=0.9, nesterov=True)
    ours = optimizer.init(theta.detach())
    for _ in range(3):
        theta.grad = grad.detach().clone()
        theirs.step()
        ours = optimizer.step(ours, grad.detach())
    torch.testing.assert_close(ours[0], theta.detach(), rtol=0, atol=1e-12)
    distiller = names["distiller"].set_params(image_shape=(1, 8, 8), max_iter=2, window=2, unroll=4)
    loss = distiller.set_params(random_state=0).fit(digits[0], digits[2]).history_["loss"]
    plain = clone(distiller).set_params(inner_momentum=0.0).fit(digits[0], digits[2])
    assert loss != plain.history_["loss"]


def test_the_augmentation_of_the_how_to_works(digits):
    names = {}
    (code,) = (c for c in code_blocks(DOCS / "howto" / "extend.rst") if "(Augmentation)" in c)
    exec(code, names)
    augmentation = OneOf([names["Waves"](size=0.5), Flip()])
    X = torch.zeros(2, 1, 8, 8)
    assert torch.equal(augmentation.apply(X, augmentation.identity(2, (1, 8, 8))), X)
    waves = augmentation.steps[0].apply(X, torch.tensor([[0.0, 0.25], [1.0, 1.0]]))
    assert waves.std(dim=2)[0].max() == 0  # to the right
    assert waves.std(dim=3)[1].max() < 1e-5  # down
    distiller = tools.quick(image_shape=(1, 8, 8), augmentation=augmentation)
    assert distiller.fit(digits[0], digits[2]).n_iter_ == 3


def test_links_between_pages_lead_somewhere():
    gallery = {f"auto_examples/{path.stem}" for path in (ROOT / "examples").glob("plot_*.py")}
    for page in DOCS.rglob("*.rst"):
        if {"generated", "auto_examples", "_build"} & set(page.parts):
            continue
        for target in re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)>?`", page.read_text()):
            base = DOCS if target.startswith("/") else page.parent
            name = (base / target.lstrip("/")).relative_to(DOCS).as_posix()
            known = name in gallery or any(DOCS.glob(f"{name}.[rm][sd]*"))
            assert known or name in {"auto_examples/index", "generated/index"}, (page, target)


SITE = {
    "index.html": '<a id="a" href="sub/b.html#x%20y">1</a><a href="#a">2</a><a href="#">3</a>',
    "sub/b.html": '<h1 id="x y"><img src="../picture.png"><a href="https://other.org/z#q">z</a></h1>',
    "sub/index.html": '<a href="../sub/">1</a><a href="mailto:someone">2</a>',
    "_static/template.html": '<a href="{{ pathto }}">a template of the theme</a>',
    "picture.png": "",
}


def write_site(folder, **changes):
    """Write a small site into a folder, some pages changed."""
    for name, text in (SITE | changes).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return links.check(folder)


def test_good_links_are_not_reported(tmp_path):
    broken, external = write_site(tmp_path)
    assert broken == []
    assert external == {"https://other.org/z": ["sub/b.html"]}


@pytest.mark.parametrize(
    ("html", "news"),
    [
        ('<a href="nowhere.html">', "nowhere.html: no such file"),
        ('<a href="#nowhere">', "#nowhere: no such anchor"),
        ('<a href="sub/b.html#a">', "sub/b.html#a: no such anchor"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<script src="gone.js">', "gone.js: no such file"),
        ('<a href="../outside.html">', "../outside.html: no such file"),
        ('<a href="_static">', "_static: no such file"),
    ],
)
def test_broken_links_are_reported(tmp_path, html, news):
    (tmp_path / "outside.html").write_text("")
    (tmp_path / "site").mkdir()
    broken, _ = write_site(tmp_path / "site", **{"index.html": f"{SITE['index.html']}{html}"})
    assert broken == [f"index.html: {news}"]


def test_a_broken_link_fails_the_check(tmp_path):
    command = [sys.executable, str(DOCS / "links.py"), str(tmp_path)]
    run = partial(subprocess.run, command, capture_output=True, text=True, check=False)
    assert "holds no pages" in run().stderr
    write_site(tmp_path)
    assert run().returncode == 0
    write_site(tmp_path, **{"index.html": '<a href="gone.html">'})
    done = run()
    assert (done.returncode, "gone.html" in done.stderr) == (1, True)


def test_every_example_has_its_place_in_the_gallery():
    names = sorted(path.name for path in (ROOT / "examples").glob("plot_*.py"))
    order = gallery.Order("examples")
    assert 8 <= len(names) <= 17
    assert sorted(order.names) == names
    assert sorted([*names, "plot_a_new_one.py"], key=order)[:: len(names)] == [
        "plot_digits.py",
        "plot_a_new_one.py",
    ]
