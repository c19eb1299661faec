"""A distilled set on the Hugging Face Hub: up in one commit, down as one file.

The package huggingface_hub does the work. It is imported when used, and raises errors of its own,
of its HTTP client and of its storage. They become Python's here, with the repository's name and the
way out; the first error stays as their cause.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..exceptions import InvalidFileError
from . import _card
from ._front_matter import check_license, front_matter
from ._known import short
from ._thumbnails import sheet

if TYPE_CHECKING:
    from ..evaluation._protocol import EvaluationResult
    from ._dataset import DistilledDataset

__all__ = ["pull", "push"]

# The files of a set's repository.
_SET, _CARD, _PICTURE = "set.npz", "README.md", "samples.png"
# A message has this many characters of the Hub's own, which may be a page.
_LENGTH = 500
_SIGN_IN = "with token=..., in the environment variable HF_TOKEN, or by `hf auth login`"


def push(
    distilled: "DistilledDataset",
    repo_id: str,
    *,
    license: str,
    result: "EvaluationResult | None",
    private: bool | None,
    overwrite: bool,
    commit_message: str | None,
    token: str | None,
    endpoint: str | None,
) -> str:
    """Upload a set and its card; see `DistilledDataset.push_to_hub`."""
    if not isinstance(repo_id, str) or repo_id.count("/") != 1:
        raise ValueError(
            f'repo_id must be "<user>/<name>" or "<organization>/<name>"; got {repo_id!r:.200}.'
        )
    license = check_license(license)
    library = _library("push_to_hub")
    contents: dict[str, str | bytes] = {**_card_files(distilled, repo_id, license, result)}
    with TemporaryDirectory() as folder:
        path = Path(folder, _SET)
        distilled.save(path)
        contents[_SET] = fspath(path)
        # True means that a token must be found: a repository is never written without one.
        api = _api(library, True if token is None else token, endpoint)
        failure = f"{repo_id} could not be written"
        with _plain_errors(library, repo_id, failure):
            head, there = _what_is_there(library, api, repo_id)
        taken = there & {_SET, _CARD, _PICTURE}
        if taken and not overwrite:
            raise FileExistsError(
                f"{repo_id} already has {', '.join(sorted(taken))}. Pass overwrite=True to replace "
                "that; the repository's history keeps what it had."
            )
        operations = [library.CommitOperationAdd(*item) for item in contents.items()]
        # A set of images has been there, and a table takes its place.
        operations += [library.CommitOperationDelete(name) for name in taken - contents.keys()]
        hint = " All files are in one commit, so it has all of them or none: push again."
        with _plain_errors(library, repo_id, failure, hint=hint):
            if head is None:
                api.create_repo(repo_id, repo_type="dataset", private=private)
            commit = api.create_commit(
                repo_id,
                operations,
                commit_message=commit_message or f"Upload {_card.title(distilled)}",
                repo_type="dataset",
                # Refused if somebody else has written since we looked.
                parent_commit=head,
            )
    oid: str = commit.oid
    return oid


def pull(
    load: Callable[[str], "DistilledDataset"],
    repo_id: str,
    *,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | PathLike[str] | None,
    force_download: bool,
    endpoint: str | None,
) -> "DistilledDataset":
    """Download a set and load it by `load`; see `DistilledDataset.from_hub`."""
    library = _library("from_hub")
    api = _api(library, token, endpoint)
    with _plain_errors(library, repo_id, f"{repo_id} could not be read", revision=revision):
        path = api.hf_hub_download(
            repo_id,
            _SET,
            repo_type="dataset",
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
        )
    try:
        return load(path)
    except InvalidFileError as error:
        raise InvalidFileError(
            f"{repo_id}{_at(revision)}: {error} If its copy on this machine may be damaged, pass "
            "force_download=True."
        ) from error


def _card_files(
    distilled: "DistilledDataset", repo_id: str, license: str, result: "EvaluationResult | None"
) -> dict[str, bytes]:
    """Return the card and, if there is one, its picture."""
    picture = sheet(distilled)
    front = front_matter(distilled, _card.title(distilled), license)
    page = _card.render(
        distilled,
        result,
        license=license,
        repo_id=repo_id,
        picture=None if picture is None else _PICTURE,
    )
    files = {_CARD: (front + page).encode()}
    return files if picture is None else {**files, _PICTURE: picture}


def _library(method: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            f'{method} needs huggingface_hub: pip install "skdistill[hub]", or huggingface_hub.'
        ) from error
    return huggingface_hub


def _api(library: Any, token: str | bool | None, endpoint: str | None) -> Any:
    return library.HfApi(
        endpoint=endpoint, token=token, library_name="skdistill", library_version=__version__
    )


def _what_is_there(library: Any, api: Any, repo_id: str) -> tuple[str | None, set[str]]:
    """Return the last commit and the files of a repository; None and no files if it is new."""
    try:
        info = api.dataset_info(repo_id)
    except library.errors.GatedRepoError:
        raise
    except library.errors.RepositoryNotFoundError:
        return None, set()
    return info.sha, {file.rfilename for file in info.siblings or ()}


@contextmanager
def _plain_errors(
    library: Any, repo_id: str, failure: str, *, revision: str | None = None, hint: str = ""
) -> Iterator[None]:
    """Turn errors of huggingface_hub into Python's, each with a message of one line."""
    errors = library.errors
    try:
        yield
    except errors.HFValidationError:
        raise  # a ValueError: `repo_id` cannot be the name of a repository
    except errors.LocalTokenNotFoundError as error:
        raise PermissionError(f"{failure}: it needs a token of the Hub, {_SIGN_IN}.") from error
    except errors.LocalEntryNotFoundError as error:
        # Not an answer of the Hub: there was none.
        raise ConnectionError(
            f"{failure}: the Hub cannot be reached, and no copy is on this machine. "
            f"{_one_line(error.__cause__ or error)}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"revision={revision!r} must be a branch, a tag or a commit of {repo_id}; it has none "
            "of that name."
        ) from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo_id}{_at(revision)} has no {_SET}, the file in which push_to_hub puts a set."
        ) from error
    except errors.HfHubHTTPError as error:
        unknown = isinstance(error, errors.RepositoryNotFoundError)
        if unknown and not isinstance(error, errors.GatedRepoError):
            raise FileNotFoundError(
                f"repo_id={repo_id!r} must be a dataset repository on the Hub; there is none, or "
                f"it is private. A private one needs a token that may read it, {_SIGN_IN}."
            ) from error
        if error.response.status_code in (401, 403):
            raise PermissionError(
                f"{failure}: it needs a token that may do so, {_SIGN_IN}. {_one_line(error)}"
            ) from error
        raise OSError(f"{failure}. {_one_line(error)}{hint}") from error
    except Exception as error:
        # The HTTP client's errors; RuntimeError where one file's upload fails; the storage's.
        # A cause is nearer to what happened.
        raise OSError(f"{failure}. {_one_line(error.__cause__ or error)}{hint}") from error


def _at(revision: str | None) -> str:
    return "" if revision is None else f" at revision {revision!r}"


def _one_line(error: BaseException) -> str:
    return short(error, _LENGTH) or type(error).__name__
