"""PyTorch datasets: converted to arrays, and refused everywhere else."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tools import quick
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)
from torchvision import transforms
from torchvision.datasets import ImageFolder

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    RaTBPTTDistiller,
    ZCAWhitener,
)
from skdistill.datasets import from_torch, load_image_folder
from skdistill.evaluation import evaluate

BYTES = torch.arange(6 * 48, dtype=torch.int32).reshape(6, 3, 4, 4).to(torch.uint8)
LABELS = torch.tensor([2, 0, 1, 2, 0, 1])
TENSORS = TensorDataset(BYTES, LABELS)


class Few(Dataset):
    """A dataset class of a user."""

    def __init__(self, items, **attributes):
        self.items = items
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        item = self.items[i]
        return item() if callable(item) else item


@pytest.fixture
def folder(tmp_path):
    """Return a folder of pictures of one size, two of each class."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(2):
            pixels = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{k}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [
        (TENSORS, range(6)),
        (Subset(Subset(TENSORS, [5, 3, 1]), [2, 0]), [1, 5]),
        (ConcatDataset([Subset(TENSORS, [4]), TENSORS]), [4, *range(6)]),
        (list(zip(BYTES.numpy(), LABELS.tolist())), range(6)),
        (Few([{"label": y, "image": x} for x, y in TENSORS]), range(6)),
    ],
    ids=["tensors", "subset", "concatenated", "list", "mappings"],
)
def test_items_become_rows_of_their_dtype(dataset, rows):
    found = from_torch(dataset)
    np.testing.assert_array_equal(found.data, BYTES.numpy()[list(rows)], strict=True)
    assert found.target.tolist() == LABELS[list(rows)].tolist()
    assert found.target_names is None
    assert f"{len(rows)} samples of shape (3, 4, 4) (uint8)" in found.DESCR


def test_an_image_folder_gives_the_pixels_that_load_image_folder_gives(folder):
    dataset = ImageFolder(folder, transforms.PILToTensor())
    found = from_torch(Subset(dataset, range(4)))
    expected = load_image_folder(folder)
    np.testing.assert_array_equal(np.moveaxis(found.data, 1, -1), expected.data, strict=True)
    assert found.target_names[found.target].tolist() == ["ant", "ant", "bee", "bee"]


def test_names_of_hugging_face_classes():
    features = {"img": None, "fine": SimpleNamespace(names=["a", "b", "c"]), "coarse": None}
    items = [{"img": x, "fine": y, "coarse": torch.tensor(0)} for x, y in TENSORS]
    dataset = Few(items, features=features)
    found = from_torch(dataset, keys=("img", "fine"))
    assert found.target_names[found.target].tolist() == list("cabcab")
    with pytest.raises(ValueError, match=r"two of \['img', 'fine', 'coarse'\].*; got None"):
        from_torch(dataset)
    with pytest.raises(ValueError, match=r"got \('img', 'label'\)"):
        from_torch(dataset, keys=("img", "label"))


def test_names_that_do_not_fit_the_labels_are_not_given():
    items = [(np.zeros(2), 7), (np.zeros(2), 0)]
    assert from_torch(Few(items, classes=["a", "b"])).target_names is None
    items = [(np.zeros(2), "b"), (np.zeros(2), "a")]
    assert from_torch(Few(items, classes=["a", "b"])).target_names is None


def test_samples_may_be_larger_than_memory(tmp_path, capsys):
    path = tmp_path / "set.npy"
    X, y = from_torch(TENSORS, mmap_path=path, verbose=True, return_X_y=True)
    assert isinstance(X, np.memmap)
    assert not X.flags.writeable
    np.testing.assert_array_equal(np.load(path), BYTES.numpy(), strict=True)
    assert y.tolist() == LABELS.tolist()
    assert capsys.readouterr().out.splitlines()[-1].startswith("[skdistill.datasets] 6/6 samples")
    with pytest.raises(FileExistsError, match="mmap_path"):
        from_torch(TENSORS, mmap_path=path)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    X, _ = from_torch(TENSORS, mmap_path="~/set.npy", return_X_y=True)
    np.testing.assert_array_equal(np.load(tmp_path / "set.npy"), X)


NO_ARRAYS = {
    "meta": lambda X: X.to("meta"),
    "sparse": torch.Tensor.to_sparse,
    "nested": lambda X: torch.nested.nested_tensor(list(X)),
    "float8": lambda X: X.to(torch.float8_e4m3fn),
    "quantized": lambda X: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore:.*(nested|quantize|Quantize)")
@pytest.mark.parametrize("change", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_tensors_that_numpy_cannot_take_are_refused_by_name(change):
    X, y = torch.randn(6, 4), torch.arange(6) % 2
    changed, distiller = change(X), quick()
    message = r"X, y and weights must be dense tensors .*\.to_dense\(\)"
    with pytest.raises(TypeError, match=message):
        distiller.fit(changed, y)
    with pytest.raises(TypeError, match=message):
        distiller.fit(X, changed)
    with pytest.raises(TypeError, match=r"dataset\[0\]: X, y and weights must be dense"):
        from_torch([(changed, 0)])


def test_other_tensors_are_taken():
    X, y = torch.randn(6, 4), torch.arange(6) % 2
    weight = torch.linspace(0.5, 1, 6)
    expected = quick().fit(X, y, sample_weight=weight.numpy()).distilled_.X
    for view in (torch._neg_view(-X), X.clone().requires_grad_()):
        found = quick().fit(view, y, sample_weight=weight.clone().requires_grad_()).distilled_.X
        np.testing.assert_array_equal(found, expected)
    weighed = quick().fit(X, y).evaluate(X, y, sample_weight=weight.clone().requires_grad_())
    assert 0 <= weighed.mean <= 1
    assert from_torch([(torch._neg_view(-X), 0)]).data.shape == (1, 6, 4)


def test_what_fails_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="one shape"):
        from_torch([(np.zeros(2), 0), (np.zeros(3), 0)], mmap_path=tmp_path / "set.npy")
    assert not list(tmp_path.iterdir())


def test_random_transforms_give_the_same_twice_and_leave_the_generators_alone():
    def noise():
        return torch.rand(2) + random.random() + np.random.rand(), 1  # noqa: NPY002

    def state():
        return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002

    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    expected = state()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    dataset = Few([noise, noise])
    first, second = (from_torch(dataset).data for _ in range(2))
    assert state() == expected
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).all()


def test_bfloat16_becomes_single_precision():
    X, _ = from_torch(
        TensorDataset(torch.ones(2, 3, dtype=torch.bfloat16), torch.arange(2)), return_X_y=True
    )
    assert (X.dtype, X.tolist()) == (np.float32, [[1.0] * 3] * 2)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(TENSORS)

    def __len__(self):
        return 6


PICTURE = Image.new("RGB", (4, 4))


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (DataLoader(TENSORS), TypeError, r"got a DataLoader. Pass its \.dataset\."),
        (Stream(), TypeError, r"map-style.* got a Stream.*from_torch\(list\(dataset\)\)"),
        (iter(TENSORS), TypeError, "map-style"),
        ([], ValueError, "at least one item; the list is empty"),
        (BYTES.numpy(), TypeError, r"pairs \(sample, label\); dataset\[0\] is a ndarray"),
        (TensorDataset(BYTES), TypeError, r"dataset\[0\] is a tuple of 1"),
        ([(0, 1, 2)], TypeError, r"dataset\[0\] is a tuple of 3"),
        ([(PICTURE, 0)], TypeError, r"image of Pillow's.*PILToTensor.*load_image_folder\("),
        ([("text", 0)], TypeError, r"real numbers; that of dataset\[0\] is a str"),
        ([(BYTES[0], LABELS)], TypeError, r"one label per sample; that of dataset\[0\] has shape"),
        ([(BYTES[0], None)], TypeError, r"numbers, booleans or strings; .* is a NoneType"),
        ([(np.zeros(2), 0), (np.zeros(3), 0)], ValueError, r"one shape .*dataset\[1\] has \(3,\)"),
        ([(np.zeros(2), 0), (np.zeros(2, int), 0)], ValueError, "one shape and dtype.*int64"),
        ([(np.zeros(2), 0), (np.zeros(2), "a")], ValueError, "labels of one type; got int and str"),
    ],
)
def test_anything_but_samples_and_labels_is_refused(dataset, error, message):
    with pytest.raises(error, match=message):
        from_torch(dataset)


@pytest.mark.parametrize("keys", ["label", ("a",), ("a", 1)])
def test_unfit_keys(keys):
    with pytest.raises(ValueError, match="keys must be None or two strings"):
        from_torch(TENSORS, keys=keys)


# --- into an estimator ------------------------------------------------------------------------

WAY_OUT = r"got a {}\. Use X, y = skdistill\.datasets\.from_torch\(dataset, return_X_y=True\)"


@pytest.mark.parametrize(
    "estimator",
    [RaTBPTTDistiller(), BoostedDistiller(), DistilledClassifier(), DistillationSampler()],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize(
    "dataset", [TENSORS, DataLoader(TENSORS), Stream()], ids=lambda d: type(d).__name__
)
def test_fit_says_how_to_convert_a_dataset(estimator, dataset):
    with pytest.raises(TypeError, match=WAY_OUT.format(type(dataset).__name__)):
        estimator.fit(dataset, None)


@pytest.mark.parametrize("estimator", [RaTBPTTDistiller(), BoostedDistiller()])
def test_fit_of_a_dataset_without_labels_says_it_too(estimator):
    with pytest.raises(TypeError, match=WAY_OUT.format("TensorDataset")):
        estimator.fit(TENSORS)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        estimator.fit(np.eye(4))


def test_a_hugging_face_dataset_is_refused():
    kind = type("Dataset", (list,), {"__module__": "datasets.arrow_dataset", "with_format": None})
    with pytest.raises(TypeError, match=WAY_OUT.format("Dataset")):
        RaTBPTTDistiller().fit(kind(), None)


def test_test_data_and_whitening_say_it_too(images):
    X, y = images
    distiller = RaTBPTTDistiller(max_iter=1, window=1, unroll=1).fit(X, y)
    for call in (
        lambda: distiller.score(TENSORS, None),
        lambda: evaluate(distiller.distilled_, TENSORS, None),
        lambda: distiller.distilled_.standardize(TENSORS),
        lambda: ZCAWhitener().fit(TENSORS),
    ):
        with pytest.raises(TypeError, match=WAY_OUT.format("TensorDataset")):
            call()


def test_names_of_several_sets_are_those_on_which_they_agree():
    items = [(np.zeros(2), 0), (np.ones(2), 1)]
    cats, more, birds, nameless = (
        Few(items, **names)
        for names in (
            {"classes": ["cat", "dog"]},
            {"classes": ["cat", "dog"]},
            {"classes": ["hen", "owl"]},
            {},
        )
    )
    for parts, expected in (
        ([cats, more], ["cat", "dog"]),
        ([cats, birds], None),
        ([cats, nameless], None),
        ([nameless, cats], None),
        ([Subset(cats, [1]), ConcatDataset([more, cats])], ["cat", "dog"]),
        ([Subset(cats, [1]), ConcatDataset([more, birds])], None),
    ):
        names = from_torch(ConcatDataset(parts)).target_names
        assert (None if names is None else names.tolist()) == expected


def test_names_are_not_given_to_labels_that_are_other_ones(folder):
    merged = ImageFolder(folder, transforms.PILToTensor(), target_transform=lambda y: 1 - y)
    for dataset in (merged, Subset(merged, [0, 3]), ConcatDataset([merged, merged])):
        found = from_torch(dataset)
        assert found.target[0] == 1
        assert found.target_names is None
    # A wrapper of one's own may have labels of its own.
    items = [(np.zeros(2), 0), (np.ones(2), 1)]
    named = Few(items, classes=["cat", "dog"])
    swapped = [(x, 1 - y) for x, y in items]
    for wrapper in (Few(swapped, dataset=named), Few(swapped, datasets=[named, named])):
        assert from_torch(wrapper).target_names is None
