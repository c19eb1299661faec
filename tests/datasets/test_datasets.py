"""Loaders: the formats of real data sets on small trees, what is wrong with them, and memory."""

import gzip
import hashlib
import os
import pickle
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from urllib.error import URLError

import joblib
import numpy as np
import pytest
import sklearn.datasets
from PIL import ExifTags, Image
from sklearn.utils import Bunch
from torchvision import transforms
from torchvision.datasets import CIFAR10, CIFAR100, ImageFolder, cifar, mnist
from torchvision.datasets.folder import IMG_EXTENSIONS

from skdistill import RaTBPTTDistiller, datasets
from skdistill.datasets import _folder_walk
from skdistill.exceptions import InvalidFileError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def picture(seed, height=8, width=8, channels=3):
    """Return random pixels, smooth enough to distinguish ways of resizing."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(-40, 41, size=(height, width, channels)), axis=1) + 128
    pixels = steps.clip(0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def resize_and_crop(size):
    return transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("network"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with five 8 x 8 pictures of "ant" and three of "bee"."""
    for name, n in [("ant", 5), ("bee", 3)]:
        for k in range(n):
            save(tmp_path / "pictures" / name / f"{k}.png", picture(10 * n + k))
    return tmp_path / "pictures"


# --- folders of images ------------------------------------------------------------------------


def test_image_folder(folder):
    data = datasets.load_image_folder(folder)
    assert isinstance(data, Bunch)
    reference = ImageFolder(folder)
    np.testing.assert_array_equal(data.data, [np.asarray(image) for image, _ in reference])
    assert (data.data.dtype, data.data.flags.c_contiguous) == (np.uint8, True)
    assert data.target.tolist() == reference.targets == [0] * 5 + [1] * 3
    assert data.target_names.tolist() == ["ant", "bee"]
    assert data.filenames.tolist() == [file for file, _ in reference.samples]
    assert data["DESCR"] == f"8 images of 8 x 8 pixels (RGB) in 2 classes, from {folder}."

    X, y = datasets.load_image_folder(str(folder), return_X_y=True)
    np.testing.assert_array_equal(X, data.data)
    np.testing.assert_array_equal(y, data.target)


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    data = datasets.load_image_folder("~/pictures", mmap_path="~/X.npy").data
    assert len(data) == 8
    np.testing.assert_array_equal(np.load(folder.parent / "X.npy"), data)


def test_an_unknown_home_is_told(folder):
    with pytest.raises(FileNotFoundError, match="home folder ~nosuchuser is not known"):
        datasets.load_image_folder("~nosuchuser/pictures")
    with pytest.raises(FileNotFoundError, match="home folder ~nosuchuser is not known"):
        datasets.load_image_folder(folder, mmap_path="~nosuchuser/X.npy")


def test_names_of_classes_that_are_no_text_are_refused(folder):
    try:
        os.rename(folder / "bee", os.path.join(os.fsencode(folder), b"caf\xe9"))
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(InvalidFileError, match=r"must be in UTF-8; got b'caf\\xe9'\. Rename"):
        datasets.load_image_folder(folder)


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_files_of_several_images_are_counted(folder, kind):
    others = [Image.fromarray(picture(k)) for k in (1, 2)]
    save(folder / "bee" / f"9.{kind}", picture(0), save_all=True, append_images=others)
    # The second image of such files belongs to the first.
    image, preview = Image.fromarray(picture(0)), Image.fromarray(picture(3)).resize((3, 3))
    image.save(folder / "ant" / "9.jpg", "MPO", save_all=True, append_images=others[:1])
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    image.save(folder / "ant" / "8.tif", save_all=True, append_images=[preview])
    message = rf"1 of 11 image files hold several .* first is read: \S*9\.{kind}\. Save"
    with pytest.warns(UserWarning, match=message) as record:
        found = datasets.load_image_folder(folder)
    assert len(record) == 1
    assert len(found.data) == 11
    of_tif = [name.endswith("8.tif") for name in found.filenames]
    np.testing.assert_array_equal(found.data[of_tif][0], picture(0))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_colors_are_converted_as_pillow_does(tmp_path, kind, mode):
    image = Image.fromarray(picture(0)).convert(kind)
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / f"0.{'tif' if kind == 'CMYK' else 'png'}")
    X, _ = datasets.load_image_folder(tmp_path, mode=mode, return_X_y=True)
    assert X.shape == ((1, 8, 8, 3) if mode == "RGB" else (1, 8, 8))
    np.testing.assert_array_equal(X[0], np.asarray(image.convert(mode)))


ORIENTATIONS = {
    # EXIF's number, and the transformation that it notes
    1: lambda X: X,
    2: lambda X: X[:, ::-1],
    3: lambda X: X[::-1, ::-1],
    4: lambda X: X[::-1],
    5: lambda X: X.swapaxes(0, 1),
    6: lambda X: np.rot90(X, 1),
    7: lambda X: X[::-1, ::-1].swapaxes(0, 1),
    8: lambda X: np.rot90(X, -1),
}


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("number", ORIENTATIONS)
def test_pictures_are_rotated_as_the_camera_noted(tmp_path, number, kind):
    def check(found, expected):
        # JPEG is close at its best.
        np.testing.assert_allclose(found, expected, rtol=0, atol=9 if kind == "jpg" else 0)

    pixels = picture(0, 6, 9)
    noted = Image.Exif()
    noted[ExifTags.Base.Orientation] = number
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(kind, {})
    turned = np.ascontiguousarray(ORIENTATIONS[number](pixels))
    save(tmp_path / "a" / f"0.{kind}", turned, exif=noted, **options)
    X, _ = datasets.load_image_folder(tmp_path, return_X_y=True)
    check(X[0].astype(int), pixels)
    gray = datasets.load_image_folder(tmp_path, mode="L").data[0]
    check(gray.astype(int), np.asarray(Image.fromarray(pixels).convert("L")))
    # Before it is resized: after a quarter turn, resizing would give other pixels.
    X, _ = datasets.load_image_folder(tmp_path, size=(3, 9), return_X_y=True)
    check(X[0].astype(int), np.asarray(transforms.Resize((3, 9))(Image.fromarray(pixels))))


def test_damaged_notes_do_no_harm_to_a_picture(tmp_path):
    # Upside down, with a letter for a resolution.
    entries = struct.pack("<HHIHH", ExifTags.Base.Orientation, 3, 1, 3, 0)
    entries += struct.pack("<HHI4s", ExifTags.Base.XResolution, 2, 1, b"x")
    noted = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    save(tmp_path / "a" / "0.png", picture(0)[::-1, ::-1], exif=noted)
    X, _ = datasets.load_image_folder(tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X[0], picture(0))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_transparent_pixels_become_white(tmp_path, mode):
    pixels = picture(0, channels=4)
    pixels[..., 3] = 255
    pixels[0, 0, 3] = 0
    pixels[0, 1] = [255, 0, 0, 128]
    (tmp_path / "a").mkdir()
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a" / "0.png")
    Image.fromarray(pixels[..., 0]).save(
        tmp_path / "a" / "1.png", transparency=int(pixels[2, 2, 0])
    )
    Image.fromarray(pixels[..., 0]).convert("P").save(
        tmp_path / "a" / "2.png", transparency=int(pixels[2, 2, 0])
    )
    X, _ = datasets.load_image_folder(tmp_path, mode=mode, return_X_y=True)
    opaque = np.asarray(Image.fromarray(pixels[..., :3]).convert(mode))
    assert (X[0, 0, 0] == 255).all()
    half = Image.new("RGB", (1, 1), (255, 127, 127)).convert(mode)
    np.testing.assert_array_equal(X[0, 0, 1], np.asarray(half)[0, 0])
    np.testing.assert_array_equal(X[0, 1:], opaque[1:])
    for image in X[1:]:
        hidden = pixels[..., 0] == pixels[2, 2, 0]
        assert (image[hidden] == 255).all()
        gray = image if mode == "L" else image[..., 0]
        np.testing.assert_array_equal(gray[~hidden], pixels[..., 0][~hidden])


def test_hidden_files_are_skipped(folder):
    expected = datasets.load_image_folder(folder)
    for name in [".ipynb_checkpoints", "__MACOSX", "ant/.thumbnails"]:
        save(folder / name / "0.png", picture(0))
    for name in ["ant/._0.png", "bee/.DS_Store", "bee/Thumbs.db", "bee/desktop.ini"]:
        (folder / name).write_bytes(b"no image")
    (folder / "labels.csv").write_text("of an export")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = datasets.load_image_folder(folder)
    assert found.filenames.tolist() == expected.filenames.tolist()
    assert found.target_names.tolist() == expected.target_names.tolist()


def test_files_that_are_not_read_are_counted(folder):
    for k in range(3):
        (folder / "ant" / f"{k}.HEIC").touch()
    (folder / "bee" / "README").touch()
    with pytest.warns(UserWarning, match=r"not read: 3 \.heic, 1 without extension\.") as record:
        assert len(datasets.load_image_folder(folder).data) == 8
    assert record[0].filename == __file__
    (folder / "cow").mkdir()
    (folder / "cow" / "0.heic").touch()
    with pytest.raises(FileNotFoundError, match=r"there are none in \S*cow \(but 1 \.heic\)\."):
        datasets.load_image_folder(folder)


def test_the_files_of_a_folder_are_torchvisions(folder):
    for name in ["ant/b/1.JPG", "ant/b c/1.jpg", "ant/a/x/1.jpeg", "Bee/1.bmp", "bee/y.jpg/1.ppm"]:
        save(folder / name, picture(0))
    (folder / "ant" / "9.png").symlink_to(folder / "bee" / "1.png")
    found, reference = datasets.load_image_folder(folder), ImageFolder(folder)
    assert found.filenames.tolist() == [file for file, _ in reference.samples]
    assert found.target.tolist() == reference.targets
    assert found.target_names.tolist() == reference.classes
    assert set(_folder_walk.EXTENSIONS) == set(IMG_EXTENSIONS)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("ant/loop", "."),
        ("ant/loop", ".."),
        ("ant/loop", "ant"),
        ("ant/deep/loop", "ant"),
        ("ant/loop", "bee"),
        ("cow", "bee"),
    ],
)
def test_links_that_lead_back_are_refused(folder, link, target):
    save(folder / "ant" / "deep" / "0.png", picture(0))
    (folder / link).symlink_to(folder / target)
    with pytest.raises(InvalidFileError, match=rf"{link} leads to \S+, whose .* Remove the link"):
        datasets.load_image_folder(folder)


def test_links_that_lead_in_a_circle_elsewhere_are_refused(folder):
    save(folder.parent / "elsewhere" / "0.png", picture(0))
    (folder / "cow").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere" / "loop").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(InvalidFileError, match=r"cow\Wloop leads to "):
        datasets.load_image_folder(folder)


def test_links_to_other_places_are_followed(folder):
    save(folder.parent / "elsewhere" / "0.png", picture(0))
    save(folder.parent / "other" / "1.png", picture(0))
    (folder / "cow").symlink_to(folder.parent / "elsewhere")
    (folder / "ant" / "more").symlink_to(folder.parent / "other")
    assert datasets.load_image_folder(folder).target.tolist() == [0] * 6 + [1] * 3 + [2]
    # The folder itself may be one, too.
    (folder.parent / "link").symlink_to(folder)
    assert len(datasets.load_image_folder(folder.parent / "link").data) == 10
    (folder / "bee" / "more").symlink_to(folder.parent / "other")
    with pytest.raises(InvalidFileError, match=r"bee\Wmore leads to "):
        datasets.load_image_folder(folder)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_are_refused_not_clipped(tmp_path, dtype):
    save(tmp_path / "a" / "0.tif", np.full((4, 4), 1000, dtype=dtype))
    with pytest.raises(InvalidFileError, match=r"0\.tif: it has more than 8 bits per channel"):
        datasets.load_image_folder(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [7, np.int64(16), (5, 9), [np.int64(30), 6]])
def test_sizes_are_torchvisions(tmp_path, size, mode):
    shapes = [(20, 31), (31, 20), (9, 9), (4, 40)]
    for k, (height, width) in enumerate(shapes):
        save(tmp_path / "a" / f"{k}.png", picture(k, height, width))
    X, _ = datasets.load_image_folder(tmp_path, size=size, mode=mode, return_X_y=True)
    if isinstance(size, list | tuple):
        resize = transforms.Resize(tuple(map(int, size)))
    else:
        resize = resize_and_crop(int(size))
    for k, pixels in enumerate(X):
        with Image.open(tmp_path / "a" / f"{k}.png") as image:
            np.testing.assert_array_equal(pixels, np.asarray(resize(image.convert(mode))))


def test_several_sizes_without_size(folder):
    save(folder / "bee" / "1.png", picture(0, 6, 9))
    # Whether or not another file is damaged, and may be skipped.
    (folder / "ant" / "0.png").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="Images must all have one size where size=None") as error:
        datasets.load_image_folder(folder, on_error="skip")
    first, second = folder / "ant" / "1.png", folder / "bee" / "1.png"
    assert f"{first} has (height, width) = (8, 8), {second} has (6, 9)." in str(error.value)
    with pytest.warns(UserWarning, match="Skipped"):
        X, _ = datasets.load_image_folder(folder, size=8, on_error="skip", return_X_y=True)
    assert X.shape == (7, 8, 8, 3)


def damage(folder):
    """Damage three of the eight pictures, each in another way; return their paths."""
    truncated, garbage, bomb = (folder / name for name in ("ant/1.png", "ant/4.png", "bee/0.png"))
    truncated.write_bytes(truncated.read_bytes()[:-60])
    garbage.write_bytes(b"no image")
    bomb.write_bytes(png_header(20_000, 20_000))
    return [truncated, garbage, bomb]


def png_header(width, height):
    """Return a PNG file that claims to be as large as this, with nothing in it."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_unreadable_files_are_listed(folder, n_jobs):
    files = damage(folder)
    with pytest.raises(InvalidFileError) as error:
        datasets.load_image_folder(folder, n_jobs=n_jobs)
    head, *lines = str(error.value).splitlines()
    assert head == "3 of 8 image files cannot be read."
    reasons = ["truncated", "it is none of BMP, GIF, JPEG", "decompression bomb"]
    assert len(lines) == 3
    for line, file, reason in zip(lines, files, reasons):
        assert line.startswith(f"  {file}: ")
        assert reason in line


def test_unreadable_files_are_skipped_with_a_warning(folder):
    whole = datasets.load_image_folder(folder)
    files = damage(folder)
    with pytest.warns(UserWarning, match=r"^Skipped: 3 of 8 image files") as record:
        data = datasets.load_image_folder(folder, on_error="skip")
    assert all(str(file) in str(record[0].message) for file in files)
    assert record[0].filename == __file__  # the line that called
    kept = [0, 2, 3, 6, 7]
    np.testing.assert_array_equal(data.data, whole.data[kept])
    np.testing.assert_array_equal(data.target, whole.target[kept])
    np.testing.assert_array_equal(data.filenames, whole.filenames[kept])


def test_skipping_must_leave_every_class_a_picture(folder):
    for k in range(3):
        (folder / "bee" / f"{k}.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="Skipped: 3 of 8"),
        pytest.raises(InvalidFileError, match=r"that can be read; there are none in .*bee\."),
    ):
        datasets.load_image_folder(folder, on_error="skip", mmap_path=folder.parent / "X.npy")
    assert not list(folder.parent.glob("*X.npy"))
    for k in range(5):
        (folder / "ant" / f"{k}.png").write_bytes(b"")
    with pytest.raises(InvalidFileError, match="8 of 8 image files cannot be read"):
        datasets.load_image_folder(folder, on_error="skip")


@pytest.mark.parametrize("size", [None, 4])
def test_bombs_are_refused_before_they_go_off(tmp_path, monkeypatch, size):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    save(tmp_path / "a" / "0.png", picture(0))
    # 200 pixels are allowed, but not the 4 x 800 that they would be resized to.
    shape = (1, 200) if size else (26, 40)
    save(tmp_path / "a" / "1.png", picture(0, *shape))
    with pytest.raises(InvalidFileError, match=r"1 of 2 .*\n.*1\.png: .* pixels"):
        datasets.load_image_folder(tmp_path, size=size)


def test_other_programs_are_not_run(tmp_path):
    # Pillow would have Ghostscript draw this, whatever the file's name.
    (tmp_path / "a").mkdir()
    picture = BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "EPS")
    (tmp_path / "a" / "0.png").write_bytes(picture.getvalue())
    with pytest.raises(InvalidFileError, match=r"0\.png: it is none of BMP"):
        datasets.load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, FileNotFoundError, r"path='.*x' must be a folder .*; there is none"),
        (lambda path: path.touch(), NotADirectoryError, r"path='.*x' must be a folder .* a file"),
        (lambda path: path.mkdir(), FileNotFoundError, "path='.*x' must have a folder of images"),
        (lambda path: save(path / "0.png", picture(0)), FileNotFoundError, "it has no folders"),
        (
            lambda path: [
                save(path / "a" / "0.png", picture(0)),
                (path / "empty").mkdir(),
                save(path / "text" / "0.png", picture(0)),
                (path / "text" / "0.png").rename(path / "text" / "0.txt"),
            ],
            FileNotFoundError,
            r"must hold image files; there are none in \S*x.empty, \S*x.text \(but 1 \.txt\)\.",
        ),
    ],
)
def test_anything_but_a_folder_of_classes_is_refused(tmp_path, make, error, message):
    make(tmp_path / "x")
    with pytest.raises(error, match=message):
        datasets.load_image_folder(tmp_path / "x")


@pytest.mark.parametrize("names", [("test", "train"), ("Train", "VAL", "test"), ("train",)])
def test_the_parts_of_a_data_set_are_no_classes(folder, tmp_path, monkeypatch, names):
    for name in names:
        shutil.copytree(folder, tmp_path / "set" / name)
    (tmp_path / "set" / names[0] / "labels.csv").touch()
    monkeypatch.chdir(tmp_path / "set")
    train = next(name for name in names if name.lower() == "train")
    for path in (".", tmp_path / "set"):
        message = f"has the folders .*{names[-1]}.*Pass one of them, '{Path(path) / train}'"
        with pytest.raises(ValueError, match=message):
            datasets.load_image_folder(path)
    assert datasets.load_image_folder(train).target_names.tolist() == ["ant", "bee"]
    # With pictures of its own one of them is a class after all: trains, say.
    shutil.copy(folder / "ant" / "0.png", names[0])
    Path(names[0], "labels.csv").unlink()
    assert set(datasets.load_image_folder(".").target_names) == set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": 3}, "'path' parameter of load_image_folder must be .* Got 3 instead"),
        ({"size": 0}, r"'size' .* Got 0 instead"),
        ({"size": (8, 0)}, r"size must be .* \(height, width\) or None; got \(8, 0\)"),
        ({"size": (8, 8, 3)}, r"size must be .*got \(8, 8, 3\)"),
        ({"size": 8.0}, r"'size' .* Got 8\.0 instead"),
        ({"mode": "rgb"}, "'mode' .* Got 'rgb' instead"),
        ({"on_error": "ignore"}, "'on_error' .* Got 'ignore' instead"),
        ({"n_jobs": "all"}, "'n_jobs' .* Got 'all' instead"),
        ({"verbose": "yes"}, "'verbose' .* Got 'yes' instead"),
        ({"mmap_path": 1}, "'mmap_path' .* Got 1 instead"),
        ({"return_X_y": "yes"}, "'return_X_y' .* Got 'yes' instead"),
    ],
)
def test_unfit_arguments(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load_image_folder(**{"path": folder, **arguments})


def test_threads_give_the_same(tmp_path, capsys):
    for k in range(101):
        save(tmp_path / "ab"[k % 2] / f"{k}.jpg", picture(k, 12, 12), quality=90)
    one = datasets.load_image_folder(tmp_path, size=6, verbose=True)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed] == [
        f"[skdistill.datasets] {n}/101 images" for n in (32, 64, 96, 101)
    ]
    # Rows are written in place, so threads are used even if processes are preferred.
    with joblib.parallel_config("loky", n_jobs=2):
        several = datasets.load_image_folder(tmp_path, size=6)
    np.testing.assert_array_equal(one.data, several.data)
    assert capsys.readouterr().out == ""


def test_verbose_prints_ten_lines(folder, monkeypatch, capsys):
    monkeypatch.setattr("skdistill.datasets._decode._CHUNK", 1)
    for k in range(32):
        save(folder / "ant" / f"{k}.png", picture(k))
    datasets.load_image_folder(folder, verbose=1)
    assert len(capsys.readouterr().out.splitlines()) == 10


# --- arrays in files --------------------------------------------------------------------------


def test_memory_mapped(folder, tmp_path):
    path = tmp_path / "X.npy"
    data = datasets.load_image_folder(folder, mmap_path=str(path))
    assert isinstance(data.data, np.memmap)
    assert not data.data.flags.writeable
    expected = datasets.load_image_folder(folder).data
    np.testing.assert_array_equal(data.data, expected)
    np.testing.assert_array_equal(np.load(path), expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["X.npy", "pictures"]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_skipped_rows_are_cut_off_the_file(folder, tmp_path, mode):
    for k in range(5, 15):  # so that the number of rows loses a digit
        save(folder / "ant" / f"{k}.png", picture(k))
    for k in range(4, 14):
        (folder / "ant" / f"{k}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="Skipped: 10 of 18"):
        X, y = datasets.load_image_folder(
            folder, on_error="skip", mmap_path=tmp_path / "X.npy", mode=mode, return_X_y=True
        )
    with pytest.warns(UserWarning, match="Skipped: 10 of 18"):
        expected = datasets.load_image_folder(folder, on_error="skip", mode=mode).data
    np.testing.assert_array_equal(X, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "X.npy"), expected)
    assert len(X) == len(y) == 8
    assert (tmp_path / "X.npy").stat().st_size == 128 + expected.nbytes


@pytest.mark.parametrize("at", ["file", "dangling link"])
def test_files_are_never_overwritten(folder, tmp_path, at):
    path = tmp_path / "X.npy"
    path.write_text("mine") if at == "file" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match=r"mmap_path='.*X\.npy' must be .* new file"):
        datasets.load_image_folder(folder, mmap_path=path)
    assert at != "file" or path.read_text() == "mine"


def test_no_folder_or_no_room_for_the_file(folder, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"mmap_path='.*' must be in a folder"):
        datasets.load_image_folder(folder, mmap_path=tmp_path / "no" / "X.npy")
    usage = shutil.disk_usage(tmp_path)._replace(free=1535)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"room for 1,536 bytes; 1,535 are free"):
        datasets.load_image_folder(folder, mmap_path=tmp_path / "X.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


def test_what_fails_leaves_no_file(folder, tmp_path):
    damage(folder)
    with pytest.raises(InvalidFileError):
        datasets.load_image_folder(folder, mmap_path=tmp_path / "X.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


# --- CUB-200-2011 -----------------------------------------------------------------------------

BIRDS = [
    # image id, file, class id, in the training set
    (1, "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, 0),
    (2, "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, 1),
    (60, "002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg", 2, 1),
    (11788, "200.Common_Yellowthroat/Common_Yellowthroat_0055_190967.jpg", 200, 1),
]


@pytest.fixture
def cub(tmp_path):
    """Return a CUB_200_2011 of four photographs, one of them gray, in three classes."""
    root = tmp_path / "CUB_200_2011"
    for k, (_, file, _, _) in enumerate(BIRDS):
        gray = file.startswith("002")
        save(root / "images" / file, picture(k, 30, 40, 1 if gray else 3), quality=90)
    tables = {
        "images.txt": [f"{image} {file}" for image, file, _, _ in BIRDS],
        "image_class_labels.txt": [f"{image} {label}" for image, _, label, _ in BIRDS],
        "train_test_split.txt": [f"{image} {train}" for image, _, _, train in BIRDS],
        "classes.txt": [
            "1 001.Black_footed_Albatross",
            "2 002.Laysan_Albatross",
            "200 200.Common_Yellowthroat",
        ],
    }
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("subset", "rows"), [("train", [1, 2, 3]), ("test", [0]), ("all", range(4))]
)
def test_cub200(cub, subset, rows):
    data = datasets.load_cub200(cub, subset=subset)
    assert data.data.shape == (len(rows), 32, 32, 3)
    assert data.target.tolist() == [[0, 0, 1, 2][row] for row in rows]
    assert data.target_names[2] == "200.Common_Yellowthroat"
    assert data.filenames.tolist() == [str(cub / "images" / BIRDS[row][1]) for row in rows]
    resize = resize_and_crop(32)
    for file, pixels in zip(data.filenames, data.data):
        with Image.open(file) as image:
            np.testing.assert_array_equal(pixels, np.asarray(resize(image.convert("RGB"))))
    assert "Caltech" in data.DESCR


def test_cub200_in_a_file(cub, tmp_path):
    X, y = datasets.load_cub200(cub, size=(4, 6), mmap_path=tmp_path / "X.npy", return_X_y=True)
    assert isinstance(X, np.memmap)
    assert (X.shape, y.tolist()) == ((3, 4, 6, 3), [0, 1, 2])
    assert X[1].any()
    assert (X[1, ..., 0] == X[1, ..., 2]).all()  # the gray one


@pytest.mark.parametrize(
    "name", ["images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt"]
)
def test_cub200_needs_its_annotations(cub, name):
    (cub / name).write_text("\n")
    with pytest.raises(InvalidFileError, match=f"{name} is empty"):
        datasets.load_cub200(cub)
    (cub / name).write_bytes(b"1 \xff\n")
    with pytest.raises(InvalidFileError, match=f"{name} must be text"):
        datasets.load_cub200(cub)
    (cub / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; path must be"):
        datasets.load_cub200(cub)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("image_class_labels.txt", "60 2\n", "", r"class_labels\.txt .* none for image '60'"),
        ("train_test_split.txt", "60 1\n", "60 1\n61 1\n", r"split\.txt .* one for image '61'"),
        ("image_class_labels.txt", "60 2\n", "60 3\n", "unknown value, '3', for image '60'"),
        ("train_test_split.txt", "60 1\n", "60\n", "unknown value, '', for image '60'"),
        ("images.txt", "60 ", "2 ", r"images\.txt, line 3: '2' is there for a second time"),
    ],
)
def test_cub200_annotations_fit_each_other(cub, name, old, new, message):
    text = (cub / name).read_text()
    assert old in text
    (cub / name).write_text(text.replace(old, new))
    with pytest.raises(InvalidFileError, match=message):
        datasets.load_cub200(cub)


def test_cub200_lacks_images(cub):
    for k in (1, 3):
        (cub / "images" / BIRDS[k][1]).unlink()
    with pytest.raises(InvalidFileError, match="2 of 3 image files") as error:
        datasets.load_cub200(cub)
    assert f"{cub / 'images' / BIRDS[3][1]}: No such file" in str(error.value)
    assert len(datasets.load_cub200(cub, subset="test").data) == 1
    shutil.rmtree(cub / "images")
    with pytest.raises(FileNotFoundError, match=r"images' must be a folder with the photographs"):
        datasets.load_cub200(cub)
    with pytest.raises(FileNotFoundError, match=r"must be a folder with images\.txt"):
        datasets.load_cub200(cub / "x")


def test_cub200_lacks_a_subset(cub):
    text = (cub / "train_test_split.txt").read_text()
    (cub / "train_test_split.txt").write_text(text.replace("1 0\n", "1 1\n"))
    with pytest.raises(InvalidFileError, match=r"split\.txt has no images for subset='test'"):
        datasets.load_cub200(cub, subset="test")


# --- Tiny-ImageNet ----------------------------------------------------------------------------

# Not sorted, as in the real wnids.txt.
WORDS = {
    "n02124075": "Egyptian cat",
    "n04067472": "reel",
    "n01443537": "goldfish, Carassius auratus",
}


@pytest.fixture
def tiny(tmp_path):
    """Return a tiny-imagenet-200 of three classes, two training images each, one of them gray."""
    root = tmp_path / "tiny-imagenet-200"
    for k, wnid in enumerate(WORDS):
        for j in range(2):
            pixels = picture(3 * k + j, 64, 64, 1 if (k, j) == (2, 1) else 3)
            save(root / "train" / wnid / "images" / f"{wnid}_{j}.JPEG", pixels)
        boxes = f"{wnid}_0.JPEG\t0\t10\t63\t58\n{wnid}_1.JPEG\t0\t0\t9\t9\n"
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    (root / "wnids.txt").write_text("\n".join(WORDS))
    words = {"n00001740": "entity", **WORDS}
    (root / "words.txt").write_text("".join(f"{w}\t{name}\n" for w, name in words.items()))
    lines = []
    for k, wnid in enumerate(["n04067472", "n01443537", "n04067472"]):
        save(root / "val" / "images" / f"val_{k}.JPEG", picture(20 + k, 64, 64))
        lines.append(f"val_{k}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_training_images(tiny):
    data = datasets.load_tiny_imagenet(tiny)
    reference = ImageFolder(tiny / "train")
    np.testing.assert_array_equal(data.data, [np.asarray(image) for image, _ in reference])
    assert data.data.shape == (6, 64, 64, 3)
    assert data.target.tolist() == reference.targets
    assert data.wnids.tolist() == reference.classes == sorted(WORDS)
    assert data.target_names.tolist() == [WORDS[wnid] for wnid in sorted(WORDS)]
    assert data.filenames.tolist() == [file for file, _ in reference.samples]
    assert "Tiny" in data.DESCR


def test_tiny_imagenet_validation_images(tiny):
    X, y = datasets.load_tiny_imagenet(tiny, subset="val", return_X_y=True)
    assert y.tolist() == [2, 0, 2]
    for k in range(3):
        with Image.open(tiny / "val" / "images" / f"val_{k}.JPEG") as image:
            np.testing.assert_array_equal(X[k], np.asarray(image))


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_tiny_imagenet_edited_on_windows(tiny, name):
    expected = datasets.load_tiny_imagenet(tiny, subset="val")
    (tiny / name).write_text((tiny / name).read_text(), encoding="utf-8-sig")
    found = datasets.load_tiny_imagenet(tiny, subset="val")
    assert found.target.tolist() == expected.target.tolist()
    assert found.target_names.tolist() == expected.target_names.tolist()


def test_tiny_imagenet_in_a_file(tiny, tmp_path):
    X, _ = datasets.load_tiny_imagenet(
        tiny, size=8, n_jobs=2, mmap_path=tmp_path / "X.npy", return_X_y=True
    )
    assert isinstance(X, np.memmap)
    assert X.shape == (6, 8, 8, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda root: (root / "wnids.txt").unlink(), FileNotFoundError, r"wnids\.txt is missing"),
        (lambda root: (root / "words.txt").unlink(), FileNotFoundError, r"words\.txt is missing"),
        (
            lambda root: (root / "words.txt").write_text("n04067472\treel\n"),
            InvalidFileError,
            r"words\.txt has no line for 'n01443537'",
        ),
        (
            lambda root: shutil.rmtree(root / "train" / "n04067472"),
            FileNotFoundError,
            r"n04067472.images must be a folder of \.JPEG files",
        ),
        (
            lambda root: (root / "train/n04067472/images/n04067472_0.JPEG").write_bytes(b""),
            InvalidFileError,
            r"1 of 6 image files cannot be read\.\n.*n04067472_0\.JPEG: it is none of",
        ),
    ],
)
def test_tiny_imagenet_training_images_are_wrong(tiny, change, error, message):
    change(tiny)
    with pytest.raises(error, match=message):
        datasets.load_tiny_imagenet(tiny)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda val: (val / "val_annotations.txt").unlink(),
            FileNotFoundError,
            r"val_annotations\.txt is missing",
        ),
        (
            lambda val: (val / "val_annotations.txt").write_text("val_0.JPEG\tn9\t0\t0\t9\t9\n"),
            InvalidFileError,
            r"val_annotations\.txt has 'n9' for 'val_0\.JPEG'",
        ),
        (
            lambda val: shutil.rmtree(val / "images"),
            FileNotFoundError,
            "images' must be a folder with the validation images",
        ),
        (
            lambda val: (val / "images" / "val_1.JPEG").unlink(),
            InvalidFileError,
            r"1 of 3 .*\n.*val_1\.JPEG: No such file",
        ),
    ],
)
def test_tiny_imagenet_validation_images_are_wrong(tiny, change, error, message):
    change(tiny / "val")
    with pytest.raises(error, match=message):
        datasets.load_tiny_imagenet(tiny, subset="val")


# --- Fashion-MNIST ----------------------------------------------------------------------------


def idx(array):
    """Return bytes in the IDX format."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_fashion(root, *, packed=True):
    """Write 20 training and 10 test images in torchvision's layout, and return all arrays."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in [("train", 20), ("t10k", 10)]:
        arrays[part] = rng.integers(256, size=(n, 28, 28)).astype(np.uint8), rng.permutation(n) % 10
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[part]):
            content = idx(array)
            if packed:
                (raw / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (raw / f"{part}-{kind}-ubyte").write_bytes(content)
    return arrays


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_mnist(tmp_path, packed):
    arrays = write_fashion(tmp_path, packed=packed)
    train, test, whole = (
        datasets.fetch_fashion_mnist(subset=s, data_home=tmp_path, download_if_missing=False)
        for s in ("train", "test", "all")
    )
    for data, part in [(train, "train"), (test, "t10k")]:
        np.testing.assert_array_equal(data.data, arrays[part][0], strict=True)
        np.testing.assert_array_equal(data.target, arrays[part][1], strict=True)
    np.testing.assert_array_equal(whole.data, np.concatenate([train.data, test.data]))
    np.testing.assert_array_equal(whole.target, np.concatenate([train.target, test.target]))
    assert whole.target_names[[0, 9]].tolist() == ["T-shirt/top", "Ankle boot"]
    assert "Fashion-MNIST" in whole.DESCR
    X, y = datasets.fetch_fashion_mnist(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X, train.data)
    np.testing.assert_array_equal(y, train.target)


def test_scikit_learns_data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    write_fashion(tmp_path)
    assert len(datasets.fetch_fashion_mnist(download_if_missing=False).data) == 20


def test_fashion_mnist_is_missing(tmp_path):
    write_fashion(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(OSError, match="FashionMNIST") as error:
        datasets.fetch_fashion_mnist(data_home=tmp_path, download_if_missing=False)
    assert f"{raw} must hold" in str(error.value)
    assert "; t10k-labels-idx1-ubyte is missing. Use download_if_missing=True" in str(error.value)


def damage_idx(raw, name, change):
    content = gzip.decompress((raw / f"{name}.gz").read_bytes())
    (raw / f"{name}.gz").write_bytes(gzip.compress(change(content)))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda c: c[:-1], "damaged.*invalid for input of size"),
        ("train-images-idx3-ubyte", lambda c: b"", "damaged"),
        ("train-images-idx3-ubyte", lambda c: b"\0\0\x0d\3" + c[4:], "damaged"),
        ("train-labels-idx1-ubyte", lambda c: idx(np.arange(19)), "20 images and 19 labels"),
        ("train-labels-idx1-ubyte", lambda c: idx(np.arange(20)), "There is a label above 9"),
    ],
)
def test_fashion_mnist_is_damaged(tmp_path, name, change, message):
    write_fashion(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    damage_idx(raw, name, change)
    with pytest.raises(InvalidFileError, match=message) as error:
        datasets.fetch_fashion_mnist(data_home=tmp_path, download_if_missing=False)
    assert str(raw) in str(error.value)


@pytest.mark.parametrize("change", [lambda c: c[:-20], lambda c: b"no gzip"])
def test_damaged_archives_leave_no_half_file(tmp_path, change):
    write_fashion(tmp_path)
    file = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InvalidFileError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        datasets.fetch_fashion_mnist(data_home=tmp_path, download_if_missing=False)
    assert all(path.suffix == ".gz" for path in file.parent.iterdir())


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in DEBIAN.glob("*.gz"):
        (raw / file.name).symlink_to(file)
    for subset, n in [("train", 60_000), ("test", 10_000)]:
        X, y = datasets.fetch_fashion_mnist(
            subset=subset, data_home=tmp_path, download_if_missing=False, return_X_y=True
        )
        assert (X.shape, X.dtype) == ((n, 28, 28), np.uint8)
        assert np.bincount(y).tolist() == [n // 10] * 10
    assert [file.is_symlink() for file in raw.glob("*.gz")] == [True] * 4


# --- CIFAR ------------------------------------------------------------------------------------

CIFARS = {10: (datasets.fetch_cifar10, CIFAR10), 100: (datasets.fetch_cifar100, CIFAR100)}


def write_cifar(root, n_classes, monkeypatch):
    """Write batches of four images as CIFAR has them, and let torchvision know their checksums."""
    dataset = CIFARS[n_classes][1]
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"class {k}" for k in range(n_classes)]
    label_key, names_key = (
        ("labels", "label_names") if n_classes == 10 else ("fine_labels", "fine_label_names")
    )
    arrays = {}

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    for part in ("train_list", "test_list"):
        batches, checksums = [], []
        for name, _ in getattr(dataset, part):
            pixels = rng.integers(256, size=(4, 3072)).astype(np.uint8)
            labels = rng.integers(n_classes, size=4).tolist()
            checksums.append([name, write(name, {"data": pixels, label_key: labels})])
            batches.append((pixels, labels))
        monkeypatch.setattr(dataset, part, checksums)
        pixels, labels = map(np.concatenate, zip(*batches))
        arrays[part] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
    meta = dataset.meta | {"md5": write(dataset.meta["filename"], {names_key: names})}
    monkeypatch.setattr(dataset, "meta", meta)
    return folder, arrays, names


@pytest.mark.parametrize("n_classes", CIFARS)
def test_cifar(tmp_path, monkeypatch, n_classes):
    fetch, _ = CIFARS[n_classes]
    _, arrays, names = write_cifar(tmp_path, n_classes, monkeypatch)
    (X_train, y_train), (X_test, y_test) = arrays.values()
    train, test, whole = (
        fetch(subset=s, data_home=str(tmp_path), download_if_missing=False)
        for s in ("train", "test", "all")
    )
    np.testing.assert_array_equal(train.data, X_train, strict=True)
    np.testing.assert_array_equal(train.target, y_train, strict=True)
    np.testing.assert_array_equal(test.data, X_test, strict=True)
    np.testing.assert_array_equal(test.target, y_test, strict=True)
    np.testing.assert_array_equal(whole.data, np.concatenate([X_train, X_test]))
    np.testing.assert_array_equal(whole.target, np.concatenate([y_train, y_test]))
    assert train.data.flags.c_contiguous
    assert train.target_names.tolist() == names
    assert f"CIFAR-{n_classes}\n" in train.DESCR
    X, y = fetch(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X, train.data)
    np.testing.assert_array_equal(y, train.target)


@pytest.mark.parametrize("n_classes", CIFARS)
def test_cifar_is_missing_or_damaged(tmp_path, monkeypatch, n_classes):
    fetch, dataset = CIFARS[n_classes]
    folder, _, _ = write_cifar(tmp_path, n_classes, monkeypatch)
    name = dataset.test_list[0][0]
    content = (folder / name).read_bytes()
    # A pickle with a wrong checksum is never loaded.
    (folder / name).write_bytes(content + b"!")
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(InvalidFileError, match=f"{dataset.base_folder} has .* damaged"):
        fetch(data_home=tmp_path, download_if_missing=False)
    (folder / name).unlink()
    with pytest.raises(OSError, match=f"; {name} is missing. Use download") as error:
        fetch(data_home=tmp_path, download_if_missing=False)
    assert f"{folder} must hold the files of CIFAR{n_classes}" in str(error.value)


# --- downloads --------------------------------------------------------------------------------


def test_downloads_are_torchvisions(tmp_path, monkeypatch):
    write_fashion(tmp_path / "source")
    source, asked = tmp_path / "source" / "FashionMNIST" / "raw", []

    def download(url, download_root, filename, md5):
        asked.append(filename)
        content = gzip.decompress((source / filename).read_bytes())
        Path(download_root, filename.removesuffix(".gz")).write_bytes(content)

    monkeypatch.setattr(mnist, "download_and_extract_archive", download)
    with pytest.raises(OSError, match="are missing"):
        datasets.fetch_fashion_mnist(data_home=tmp_path / "home", download_if_missing=False)
    assert asked == []
    for _ in range(2):  # once only
        assert len(datasets.fetch_fashion_mnist(data_home=tmp_path / "home").data) == 20
    assert sorted(asked) == sorted(file.name for file in source.iterdir())


@pytest.mark.parametrize(
    ("fetch", "module", "folder"),
    [
        (datasets.fetch_fashion_mnist, mnist, "raw"),
        (datasets.fetch_cifar10, cifar, "cifar-10-batches-py"),
        (datasets.fetch_cifar100, cifar, "cifar-100-python"),
    ],
)
def test_downloads_that_fail(tmp_path, monkeypatch, fetch, module, folder):
    def download(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(module, "download_and_extract_archive", download)
    with pytest.raises(OSError, match=r"(?s)must hold .*download failed: .*no network") as error:
        fetch(data_home=tmp_path)
    assert f"{folder} must hold" in str(error.value)


# --- all of them ------------------------------------------------------------------------------


def test_digits():
    data = datasets.load_digits()
    reference = sklearn.datasets.load_digits()
    assert data.data.shape == (1797, 8, 8)
    np.testing.assert_array_equal(data.data.reshape(1797, 64), reference.data)
    np.testing.assert_array_equal(data.target, reference.target)
    assert data.target_names.tolist() == list(range(10))
    assert data.DESCR == reference.DESCR
    X, y = datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(X, data.data)
    np.testing.assert_array_equal(y, data.target)


@pytest.mark.parametrize(
    ("load", "allowed"),
    [
        (datasets.fetch_fashion_mnist, "'all', 'test', 'train'"),
        (datasets.fetch_cifar10, "'all', 'test', 'train'"),
        (datasets.fetch_cifar100, "'all', 'test', 'train'"),
        (lambda **kwargs: datasets.load_cub200("x", **kwargs), "'all', 'test', 'train'"),
        (lambda **kwargs: datasets.load_tiny_imagenet("x", **kwargs), "'train', 'val'"),
    ],
)
def test_unknown_subsets(load, allowed):
    with pytest.raises(ValueError, match=r"The 'subset' .* Got 'dev' instead") as error:
        load(subset="dev")
    assert sorted(allowed.split(", ")) == sorted(
        str(error.value).partition("{")[2].partition("}")[0].split(", ")
    )


def test_the_module_does_not_import_torch():
    code = "import sys, skdistill.datasets; print({'torch', 'torchvision'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


@pytest.mark.parametrize("mapped", [False, True])
def test_from_a_folder_to_a_score(folder, tmp_path, mapped):
    X, y = datasets.load_image_folder(
        folder, mmap_path=tmp_path / "X.npy" if mapped else None, return_X_y=True
    )
    distiller = RaTBPTTDistiller(
        ipc=1, max_iter=2, window=1, unroll=2, n_networks=1, eval_steps=2, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distiller.fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.tolist()) == ((2, 8, 8, 3), [0, 1])
    assert 0 <= distiller.score(X, y) <= 1
