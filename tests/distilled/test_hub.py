"""Sets on the Hugging Face Hub: up and down again, or an error that says what to do.

The Hub is a stand-in on this machine; addresses elsewhere are refused.
"""

import inspect
import os
import pickle
import re
import socket
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tools import ROOT, assert_same, make

from skdistill.datasets import load_distilled
from skdistill.distilled import DistilledDataset
from skdistill.evaluation import EvaluationResult
from skdistill.exceptions import InvalidFileError

huggingface_hub = pytest.importorskip("huggingface_hub")
yaml = pytest.importorskip("yaml")

from huggingface_hub import constants, file_download  # noqa: E402
from huggingface_hub.utils import _http  # noqa: E402
from local_hub import LocalHub, Repository  # noqa: E402

REPO = "me/digits"


@pytest.fixture(scope="module")
def server():
    """Return a stand-in for all tests, so that huggingface_hub makes one client."""
    with LocalHub() as hub:
        yield hub
    _http.close_session()


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """Return a new stand-in for the Hub, which huggingface_hub takes for it; a token is at hand."""
    server.reset()
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    # The other way up is the native code of hf_xet.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    # It waits for seconds before it asks again.
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    refuse_other_addresses(monkeypatch)
    return server


def refuse_other_addresses(monkeypatch):
    lookup = socket.getaddrinfo

    def local(host, *args, **kwargs):
        assert host in ("127.0.0.1", b"127.0.0.1"), f"{host} is not on this machine"
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local)


def push(data, repo_id=REPO, **options):
    return data.push_to_hub(repo_id, **{"license": "mit", **options})


def metadata(hub):
    """Return the metadata of the card, and its text."""
    front, text = hub.repositories[REPO].files["README.md"].decode().split("---\n", 2)[1:]
    return yaml.safe_load(front), text


def put(hub, content, path="set.npz"):
    """Put a file into a repository, without the package."""
    repository = hub.repositories.setdefault(REPO, Repository())
    repository.commit("by hand", {path: content})


# --- up and down ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [("table", {}), ("gray", {"soft": True}), ("channels last", {})])
def test_a_set_comes_back_as_it_was(hub, kind):
    layout, options = kind
    data = make(layout, **options)
    commit = push(data)
    assert commit == hub.repositories[REPO].head
    assert_same(DistilledDataset.from_hub(REPO), data)
    assert hub.repositories[REPO].commits[-1][1].startswith("Upload 6 distilled ")


def test_the_files_of_a_set(hub):
    push(make("rgb"))
    files = hub.repositories[REPO].files
    assert set(files) == {".gitattributes", "README.md", "samples.png", "set.npz"}
    assert Image.open(BytesIO(files["samples.png"])).mode == "RGB"
    with np.load(BytesIO(files["set.npz"])) as archive:
        assert {"X", "y", "classes", "meta"} == set(archive)


def test_a_revision_is_pinned(hub):
    first, second = make("table"), make("table", ipc=3)
    commit = push(first)
    push(second, overwrite=True)
    hub.repositories[REPO].tags["v1"] = commit
    assert len(DistilledDataset.from_hub(REPO)) == len(second)
    assert_same(DistilledDataset.from_hub(REPO, revision=commit), first)
    assert_same(DistilledDataset.from_hub(REPO, revision="v1"), first)
    # A commit that is here is not asked for again: it cannot have changed.
    hub.requests.clear()
    DistilledDataset.from_hub(REPO, revision=commit)
    assert hub.requests == []


def test_a_copy_serves_where_there_is_no_hub(hub):
    data = make("table")
    push(data)
    DistilledDataset.from_hub(REPO)
    hub.fail("HEAD", "set.npz", status=503)
    assert_same(DistilledDataset.from_hub(REPO), data)


def test_private_sets(hub):
    push(make("table"), private=True)
    assert hub.repositories[REPO].private
    message = r"repo_id='me/digits' must be a dataset repository.* or it is private.*HF_TOKEN"
    with pytest.raises(FileNotFoundError, match=message):
        DistilledDataset.from_hub(REPO, token=False)
    assert len(DistilledDataset.from_hub(REPO, token="hf_reads")) == 6


def test_another_hub_and_another_folder(hub, tmp_path):
    with LocalHub() as other:
        data = make("table")
        push(data, endpoint=other.endpoint)
        place = {"endpoint": other.endpoint, "cache_dir": tmp_path / "mine"}
        assert_same(DistilledDataset.from_hub(REPO, **place), data)
    assert hub.requests == []
    assert list((tmp_path / "mine").rglob("set.npz"))
    assert not (tmp_path / "cache").exists()


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it now raises ImportError
from skdistill import DistilledDataset
assert "huggingface_hub" not in sys.modules
print(DistilledDataset.from_hub(sys.argv[1]))
"""


def test_a_set_is_loaded_without_torch_from_the_hub_that_the_environment_names(hub, tmp_path):
    data = make("table")
    push(data)
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    home = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, REPO],
        env=os.environ | quiet | home,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == repr(data)


def test_the_lines_of_the_how_to_run(hub, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    digits = load_distilled("digits")
    digits.save("digits.npz")
    accuracies = np.array([0.9])
    result = EvaluationResult(accuracies, np.array([300]), accuracies[:, None], len(digits))
    names = {"distiller": SimpleNamespace(evaluate=lambda X, y: result)}
    names |= {"X_test": None, "y_test": None}
    page = (ROOT / "docs" / "howto" / "hub.rst").read_text()
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", page, re.M)
    for code in blocks:
        exec(inspect.cleandoc(code), names)
    assert len(blocks) == 3
    assert_same(names["distilled"], digits)
    assert hub.repositories[REPO].private
    np.testing.assert_array_equal(np.array(names["dataset"]["image"][:]), digits.X)


# --- the card ---------------------------------------------------------------------------------


def test_the_card_of_a_set(hub):
    data = make("rgb")
    accuracies = np.array([0.5, 0.75])
    push(data, result=EvaluationResult(accuracies, np.array([30]), accuracies[:, None], 6))
    known, text = metadata(hub)
    assert known == {
        "pretty_name": "6 distilled images of 3 classes",
        "license": "mit",
        "task_categories": ["image-classification"],
        "size_categories": ["n<1K"],
        "tags": ["dataset-distillation", "skdistill", "synthetic"],
        "viewer": False,
    }
    assert text.startswith("# 6 distilled images of 3 classes\n\n![The first samples](samples.png)")
    for line in (
        'distilled = DistilledDataset.from_hub("me/digits")  # runs no code',
        "Test accuracy: **62.5 ± 12.5 % (2 networks, 30 steps)**",
        "| method | Nöne |",
        "| window (parameter) | 3 |",
        "License of the training data: **mit**",
    ):
        assert line in text.splitlines()
    assert "30 steps of Adam" in text
    compile(text.split("```python\n")[1].split("```")[0], "card", "exec")


def test_accuracy_is_that_of_the_set_or_not_given(hub):
    push(make("table"))
    assert "Test accuracy: not given." in metadata(hub)[1]
    digits = load_distilled("digits")
    push(digits, overwrite=True)
    assert "Test accuracy: **93.3 ± 0.9 % (10 networks)**" in metadata(hub)[1]
    # What was measured of a whole set is not true of a part of it.
    larger = replace(
        digits,
        X=np.concatenate([digits.X] * 2),
        y=np.concatenate([digits.y] * 2),
        ipc=2,
    )
    assert "Test accuracy: not given." in larger.card()


@pytest.mark.parametrize(
    ("license", "known", "said"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}, "**CC-BY-4.0**"),
        ("unknown", {"license": "unknown"}, "**unknown** to whoever wrote this card"),
        (
            "Our terms:  no (2)\n",
            {"license": "other", "license_name": "our-terms-no-2"},
            "**Our terms: no (2)**",
        ),
        ("自由", {"license": "other", "license_name": "custom"}, "**自由**"),
    ],
)
def test_the_license_of_the_training_data(hub, license, known, said):
    push(make("table"), license=license)
    front, text = metadata(hub)
    assert {name: value for name, value in front.items() if "license" in name} == known
    assert f"License of the training data: {said}" in text.splitlines()


def test_a_table_has_no_picture(hub):
    push(make("rgb"))
    push(make("table"), overwrite=True)
    assert "samples.png" not in hub.repositories[REPO].files
    front, text = metadata(hub)
    assert front["task_categories"] == ["tabular-classification"]
    assert "samples.png" not in text


# --- what cannot be done, before anything is sent -----------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"license": ""},
            ValueError,
            r'license must be .*"unknown" if you do not know it; got \'\'',
        ),
        ({"license": None}, ValueError, "license must be the license of the training data.* None"),
        ({"repo_id": "digits"}, ValueError, r'repo_id must be "<user>/<name>".*got \'digits\''),
        ({"repo_id": "a/b/c"}, ValueError, "repo_id must be"),
        ({"repo_id": "me/a b"}, ValueError, "me/a b"),
        ({"result": 0.9}, TypeError, "result must be an EvaluationResult or None"),
        ({"data": {"provenance": {"a": object()}}}, ValueError, "provenance must be JSON-safe"),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(hub, options, kind, message):
    data = make("table", **options.pop("data", {}))
    with pytest.raises(kind, match=message):
        push(data, **options)
    assert hub.requests == []


def test_the_license_must_be_given(hub):
    with pytest.raises(TypeError, match="license"):
        make("table").push_to_hub(REPO)


def test_without_a_token_nothing_is_sent(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    message = (
        r"me/digits could not be written: it needs a token.* in the .*HF_TOKEN, or by `hf auth"
    )
    with pytest.raises(PermissionError, match=message):
        push(make("table"))
    assert hub.requests == []


@pytest.mark.parametrize("method", ["push_to_hub", "from_hub"])
def test_without_the_package_the_extra_is_named(monkeypatch, method):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=rf'{method} needs huggingface_hub: .*"skdistill\[hub\]"'):
        getattr(make("table"), method)(REPO, **{"license": "mit"} if method[0] == "p" else {})


# --- what the Hub refuses -----------------------------------------------------------------------


def test_a_set_is_not_replaced_by_accident(hub):
    first = make("table")
    commit = push(first)
    with pytest.raises(FileExistsError, match=r"has README\.md, set\.npz\. Pass overwrite=True"):
        push(make("table", ipc=3))
    assert hub.repositories[REPO].head == commit
    push(make("table", ipc=3), overwrite=True)
    assert len(DistilledDataset.from_hub(REPO)) == 9


def test_other_files_stay(hub):
    put(hub, b"text", path="notes.txt")
    push(make("table"))
    assert hub.repositories[REPO].files["notes.txt"] == b"text"


def test_a_picture_of_somebody_elses_stays(hub):
    put(hub, b"a picture", path="samples.png")
    with pytest.raises(FileExistsError, match=r"already has samples\.png\."):
        push(make("table"))
    assert hub.repositories[REPO].files == {"samples.png": b"a picture"}


@pytest.mark.parametrize(
    ("token", "repo_id"), [("hf_reads", REPO), ("hf_nobody", REPO), ("hf_writes", "you/digits")]
)
def test_a_token_that_may_not_write(hub, token, repo_id):
    with pytest.raises(PermissionError, match=f"{repo_id} could not be written: it needs a token"):
        push(make("table"), repo_id, token=token)
    assert hub.repositories == {}


def test_a_repository_that_is_written_meanwhile_is_left_alone(hub, monkeypatch):
    push(make("table"))
    create = huggingface_hub.HfApi.create_commit

    def later(api, *args, **kwargs):
        put(hub, b"of somebody else")
        return create(api, *args, **kwargs)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", later)
    with pytest.raises(OSError, match=r"could not be written.*commit has happened since"):
        push(make("table", ipc=3), overwrite=True)
    assert hub.repositories[REPO].files["set.npz"] == b"of somebody else"


def test_a_repository_that_is_not_there(hub):
    with pytest.raises(
        FileNotFoundError, match="repo_id='me/nothing' must be a dataset repository"
    ):
        DistilledDataset.from_hub("me/nothing")
    with pytest.raises(ValueError, match="a b"):
        DistilledDataset.from_hub("me/a b")


def test_a_revision_that_is_not_there(hub):
    push(make("table"))
    with pytest.raises(
        FileNotFoundError, match="revision='v9' must be a branch, a tag or a commit"
    ):
        DistilledDataset.from_hub(REPO, revision="v9")


def test_a_repository_without_a_set(hub):
    put(hub, b"text", path="notes.txt")
    with pytest.raises(FileNotFoundError, match=r"me/digits has no set\.npz"):
        DistilledDataset.from_hub(REPO)


def test_a_token_that_is_none(hub):
    push(make("table"))
    with pytest.raises(PermissionError, match="me/digits could not be read: it needs a token"):
        DistilledDataset.from_hub(REPO, token="hf_nobody")


# --- what breaks on the way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "status"),
    [("/upload/", None), ("/upload/", 500), ("/verify", 500), ("/batch", 500), ("/commit/", 500)],
)
def test_an_interrupted_upload_leaves_what_was_there(hub, part, status):
    first, second = make("rgb"), make("rgb", ipc=3)
    commit = push(first)
    before = dict(hub.repositories[REPO].files)
    hub.fail("PUT" if part == "/upload/" else "POST", part, status)
    message = r"me/digits could not be written\. .+ in one commit, so it has all of them or none"
    with pytest.raises(OSError, match=message):
        push(second, overwrite=True)
    assert (hub.repositories[REPO].head, hub.repositories[REPO].files) == (commit, before)
    hub.faults.clear()
    push(second, overwrite=True)
    assert_same(DistilledDataset.from_hub(REPO), second)


def test_a_short_interruption_is_not_noticed(hub):
    data = make("rgb")
    hub.fail("PUT", "/upload/", times=1)
    push(data)
    hub.fail("GET", "/file/", times=1)
    assert_same(DistilledDataset.from_hub(REPO), data)
    assert len(hub.asked("PUT", "/upload/")) == 3
    assert len(hub.asked("GET", "/file/")) == 2


def test_an_answer_that_is_lost(hub):
    hub.fail("POST", "/commit/")
    with pytest.raises(OSError, match="it has all of them or none: push again"):
        push(make("table"))
    hub.faults.clear()
    assert len(DistilledDataset.from_hub(REPO)) == 6


def test_an_interruption_by_the_user_is_one(hub, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        push(make("table"))


def test_an_interrupted_download_leaves_no_set(hub, tmp_path):
    push(make("table"))
    hub.fail("GET", "/file/")
    with pytest.raises(OSError, match="me/digits could not be read"):
        DistilledDataset.from_hub(REPO)
    assert not list((tmp_path / "cache").rglob("set.npz"))
    hub.faults.clear()
    assert len(DistilledDataset.from_hub(REPO)) == 6


def test_a_hub_that_cannot_be_reached(hub):
    hub.fail("HEAD", "set.npz", status=503)
    push(make("table"))
    with pytest.raises(ConnectionError, match="cannot be reached, and no copy is on this machine"):
        DistilledDataset.from_hub(REPO)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(OSError, match="me/digits could not be written"):
        push(make("table"), endpoint=nobody)


# --- files that are not to be trusted -----------------------------------------------------------


class Exploit:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_from_the_hub_is_run(hub, tmp_path):
    mark = tmp_path / "was run"
    put(hub, pickle.dumps(Exploit(mark)))
    with pytest.raises(
        InvalidFileError, match=r"me/digits: .*set\.npz cannot be loaded: it is a pickle"
    ):
        DistilledDataset.from_hub(REPO)
    stream = BytesIO()
    np.savez(stream, X=np.array([Exploit(mark)], object), y=0, classes=0, meta=0)
    put(hub, stream.getvalue())
    with pytest.raises(InvalidFileError):
        DistilledDataset.from_hub(REPO)
    assert not mark.exists()


def test_a_damaged_file_on_the_hub(hub):
    data = make("table")
    push(data)
    content = bytearray(hub.repositories[REPO].files["set.npz"])
    content[content.index(data.X.tobytes()[:16])] ^= 1
    put(hub, bytes(content))
    with pytest.raises(InvalidFileError, match=r"me/digits: .*set.npz cannot be loaded: .*CRC"):
        DistilledDataset.from_hub(REPO)
    put(hub, bytes(content[:-100]))
    with pytest.raises(InvalidFileError, match="me/digits at revision 'main': "):
        DistilledDataset.from_hub(REPO, revision="main")


def test_a_damaged_copy_is_downloaded_again_on_request(hub, tmp_path):
    data = make("table")
    push(data)
    DistilledDataset.from_hub(REPO)
    (copy,) = (tmp_path / "cache").rglob("set.npz")
    copy.resolve().write_bytes(b"PK\x03\x04 is not all")
    with pytest.raises(InvalidFileError, match="may be damaged, pass force_download=True"):
        DistilledDataset.from_hub(REPO)
    assert_same(DistilledDataset.from_hub(REPO, force_download=True), data)
