"""The functions of ``native.c``: compiled once per machine, and never needed."""

import errno
import logging
import os
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from skdistill._engine import fused, native
from skdistill._engine.chain import Chain
from skdistill._engine.fused import NormReLUPool, Winograd
from skdistill._engine.layers import Convolution
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.steps import Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.networks import MLP, ConvNet

NETWORK = partial(ConvNet, (1, 8, 8), 3, width=6)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return `native.load` with an empty cache folder, which forgets what it has loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.load.cache_clear()
    yield native.load
    native.load.cache_clear()


def test_a_machine_with_a_compiler_has_them():
    assert native.load(torch.float32) is not None
    assert native.load(torch.float64) is not None
    assert native.load(torch.float16) is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CC", "no-such-compiler", "no C compiler"),
        ("CC", "false", "false"),
        ("SKDISTILL_NATIVE", "0", None),
    ],
)
def test_without_them_the_rules_compute_the_same(name, value, reason, load, monkeypatch, caplog):
    monkeypatch.setenv(name, value)
    learner = Learner(NETWORK, dtype=torch.float64)
    with caplog.at_level(logging.INFO, "skdistill._engine.native"):
        chain = Chain.of(learner)
    assert not chain.is_fused
    assert bool(caplog.messages) == (reason is not None)
    assert all(reason in text for text in caplog.messages)
    monkeypatch.undo()
    load.cache_clear()
    by_kernels = Chain.of(learner)
    assert by_kernels.is_fused
    X = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    args = learner.init(0), X, torch.arange(3)
    for a, b in zip(chain.gradient(*args), by_kernels.gradient(*args), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "vectors",
    # Panels of two cache lines, as with AVX-512, and of one.
    [
        "-DVECTOR=16 -DVECTORS=8 -DROWS=4 -DCOLUMNS=2",
        "-DVECTOR=32 -DVECTORS=2 -DROWS=6 -DCOLUMNS=4",
    ],
)
def test_the_vectors_of_other_processors_compute_the_same(vectors, load, monkeypatch):
    monkeypatch.setenv("CC", f"cc {vectors}")
    # Neither is a multiple of a vector, and the second fills a panel and a half.
    learner = Learner(partial(ConvNet, (2, 9, 9), 3, width=21), dtype=torch.float64)
    X = torch.randn(3, 2, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta, y = learner.init(0), torch.arange(3)
    chain, by_kernels = Chain.of(learner, is_fused=False), Chain.of(learner)
    assert by_kernels.is_fused
    expected = chain.curvature(theta, X, y, theta)
    # Tiles of both sides, of all images at once and of one after the other.
    for side, part in [(2, 3), (4, 3), (4, 1)]:
        monkeypatch.setattr(fused, "_tile_side", lambda shape, side=side: side)
        monkeypatch.setattr(fused.Winograd, "_part", lambda self, shape, side, part=part: part)
        found = Chain.of(learner).curvature(theta, X, y, theta)
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    # A whole step, and back through it: of few samples, and of more than are taken one by one.
    few, many = (Learner(partial(MLP, (n,), 3, width=21), dtype=torch.float64) for n in (162, 54))
    for network, samples in ((learner, X), (few, X.flatten(1)), (many, X.view(9, -1))):
        found = []
        theta, y = network.init(0), torch.arange(len(samples)) % 3
        for derivatives in (None, Chain.of(network, is_fused=False)):
            loop = InnerLoop(Steps(network, Adam(0.01), derivatives=derivatives), samples, y)
            assert (loop.whole is None) == (derivatives is not None)
            found.append(meta_gradient(loop, theta, 1, 1, lambda t, v=theta: (t @ v, v)))
        torch.testing.assert_close(found[0].X, found[1].X, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("image", [(8, 8), (7, 5), (2, 3), (1, 14)])
def test_a_convolution_through_tiles_is_one(side, image, monkeypatch):
    monkeypatch.setattr(fused, "_tile_side", lambda shape: side)
    conv = Convolution(torch.nn.Conv2d(10, 21, 3, padding=1))
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, g = draw(2, 3, *image, 10), draw(2, 3, *image, 21)
    # Kernels (n_out, 3, 3, n_in) and biases, and the same for their tangents.
    parameters = draw(21, 3, 3, 10), draw(21), draw(21, 3, 3, 10), draw(21)

    def results(dtype, kernels=None):
        layer = conv if kernels is None else Winograd(conv, kernels)
        values, sensitivity = x.to(dtype), g.to(dtype)
        own = [each.to(dtype) for each in parameters]
        y, kept = layer.forward(values[0], *own[:2])
        grads = layer.backward(sensitivity[0], kept, True, *own[:2])
        y_pair, kept = layer.pair_forward(values, *own)
        out = (y, *grads, y_pair, *layer.pair_backward(sensitivity, kept, *own))
        # What is laid out otherwise has the same order.
        return [each.reshape(-1).double() for each in out]

    def errors(found):
        return [((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]

    exact = results(torch.float64)
    assert max(errors(results(torch.float64, native.load(torch.float64)))) < 1e-14
    # Rounding of single precision: tiles of side 4 lose two to three times what a direct
    # convolution does.
    direct = max(errors(results(torch.float32)))
    tiled = max(errors(results(torch.float32, native.load(torch.float32))))
    assert tiled < (2 if side == 2 else 5) * direct


def test_a_flat_image_is_normalized_to_zeros():
    # Sums of so many equal values are rounded the same way each time.
    x = torch.full((2, 1, 64, 64, 5), 2.3)
    scale = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])  # the rectifier hides no sign
    zeros = torch.zeros(5)
    layer = NormReLUPool(1e-5, 2, native.load(torch.float32))
    assert layer.forward(x[0], scale, zeros)[0].abs().max() < 1e-3
    assert layer.pair_forward(x, scale, zeros, scale, zeros)[0].abs().max() < 1e-3


def test_sums_over_many_pixels_lose_little_to_rounding():
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    X = draw(2, 3, 64, 64)
    X[:, :, :, 16:], X[1] = 1.0, 0.7  # flat for the most part
    network = partial(ConvNet, (3, 64, 64), 3, width=16, depth=1)
    exact = Chain.of(Learner(network, dtype=torch.float64), is_fused=False)
    theta, y = Learner(network).init(0), torch.tensor([0, 1])
    along = draw(len(theta))
    expected = exact.curvature(theta.double(), X.double(), y, along.double())
    found = Chain.of(Learner(network)).curvature(theta, X, y, along)
    for a, b, most in zip(found, expected, (5e-5, 1e-5), strict=True):
        assert (a - b).norm() < most * b.norm()


def test_the_tiles_of_an_image_follow_from_counts():
    # Few samples: there are more kernels to transform than tiles.
    assert fused._tile_side((10, 4, 4, 64)) == 2
    assert fused._tile_side((512, 4, 4, 64)) == 4
    # A side of 5 has four tiles of side 4 for the nine of side 2.
    assert fused._tile_side((1000, 5, 5, 64)) == 2


def test_what_was_compiled_is_kept(load, tmp_path, monkeypatch):
    assert load(torch.float32) is not None
    (file,) = (tmp_path / "skdistill").iterdir()
    assert (tmp_path / "skdistill").stat().st_mode & 0o077 == 0  # nobody else's code is run
    made = file.stat().st_mtime_ns
    load.cache_clear()
    monkeypatch.setattr(native, "_run", pytest.fail)
    assert load(torch.float32) is not None
    assert file.stat().st_mtime_ns == made
    # A home folder may be shared by machines whose processors have other instructions, or that have
    # other compilers of the same name.
    for name, changed in (
        ("_processor", lambda: "another"),
        ("_version", lambda cc: ["another"]),
    ):
        load.cache_clear()
        commands = []
        with monkeypatch.context() as patched:
            patched.setattr(native, name, changed)
            patched.setattr(native, "_run", commands.append)
            assert load(torch.float32) is None
        assert commands


@pytest.fixture
def quick_to_compile(monkeypatch):
    """Compile in a second, what is slow to run."""
    monkeypatch.setattr(native, "_FLAGS", ["-O0", "-std=gnu11", "-fPIC", "-DVECTOR=16"])
    sizes = "-DVECTORS=4 -DROWS=4 -DCOLUMNS=4"
    monkeypatch.setenv("CC", f"cc {sizes}")


def test_a_folder_of_another_user_is_not_trusted(
    load, tmp_path, monkeypatch, caplog, quick_to_compile
):
    folder = tmp_path / "skdistill"
    folder.mkdir()
    uid = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: uid + 1)
    with caplog.at_level(logging.INFO, "skdistill._engine.native"):
        assert load(torch.float32) is not None
    assert "only this user can write" in caplog.text
    assert [*folder.iterdir()] == []


def test_a_folder_that_others_could_write_is_closed_to_them(load, tmp_path, quick_to_compile):
    folder = tmp_path / "skdistill"
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)
    assert load(torch.float32) is not None
    assert folder.stat().st_mode & 0o077 == 0
    assert len([*folder.iterdir()]) == 1


def test_a_library_that_was_cut_short_is_compiled_again(load, tmp_path, quick_to_compile):
    assert load(torch.float32) is not None
    (file,) = (tmp_path / "skdistill").iterdir()
    whole = file.stat().st_size
    part = file.read_bytes()[:1000]
    file.unlink()  # the process has it loaded
    file.write_bytes(part)
    load.cache_clear()
    assert load(torch.float32) is not None
    assert file.stat().st_size == whole


def test_every_part_of_the_source_decides_what_is_kept(
    load, tmp_path, monkeypatch, quick_to_compile
):
    source = shutil.copytree(native._SOURCE.parent, tmp_path / "csrc") / native._SOURCE.name
    monkeypatch.setattr(native, "_SOURCE", source)
    assert load(torch.float32) is not None
    with (source.parent / "vectors.h").open("a") as file:
        file.write("/* another */\n")
    load.cache_clear()
    assert load(torch.float32) is not None
    assert len([*(tmp_path / "skdistill").iterdir()]) == 2


def test_a_compiler_without_openmp_makes_functions_for_one_core(
    load, tmp_path, monkeypatch, quick_to_compile
):
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(0o700)
    monkeypatch.setenv("CC", os.environ["CC"].replace("cc", str(compiler), 1))
    assert load(torch.float64) is not None
    chain = Chain.of(Learner(NETWORK, dtype=torch.float64))
    assert chain.is_fused
    # It is kept, and only whether there are threads by now is tried again.
    run, commands = native._run, []
    load.cache_clear()
    monkeypatch.setattr(native, "_run", lambda command: (commands.append(command), run(command)))
    assert load(torch.float64) is not None
    assert [command for command in commands if str(native._SOURCE) in command] == []
    # And another, with threads, if there are.
    compiler.write_text('#!/bin/sh\nexec cc "$@"\n')
    load.cache_clear()
    assert load(torch.float64) is not None
    assert len([*(tmp_path / "skdistill").iterdir()]) == 2


def test_a_folder_that_cannot_be_written_still_has_what_it_holds(
    load, tmp_path, monkeypatch, make_read_only, quick_to_compile
):
    assert load(torch.float32) is not None
    folder = tmp_path / "skdistill"
    folder.chmod(0o755)  # readable by others, as a baked image has it
    make_read_only(folder)
    monkeypatch.setattr(native, "_run", pytest.fail)
    load.cache_clear()
    assert load(torch.float32) is not None


@pytest.mark.parametrize("fails", ["mkdir", "replace"])
def test_what_cannot_be_kept_still_serves(
    load, tmp_path, monkeypatch, make_read_only, quick_to_compile, fails
):
    (tmp_path / "skdistill").mkdir(mode=0o700)
    if fails == "mkdir":
        make_read_only(tmp_path / "skdistill")
    else:

        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
    assert load(torch.float32) is not None
    assert [*(tmp_path / "skdistill").glob("native-*")] == []


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 2, 8, 8), "float64"), ((2, 1, 8, 8), "float16"), ((2, 64), "float64")]
)
def test_samples_that_are_not_the_networks_are_refused(shape, dtype):
    learner = Learner(NETWORK, dtype=torch.float64)
    chain, theta = Chain.of(learner), learner.init(0)
    X, y = torch.zeros(shape, dtype=getattr(torch, dtype)), torch.tensor([0, 1])
    assert chain.is_fused
    for compute in (
        lambda: chain.scores(theta, X),
        lambda: chain.gradient(theta, X, y),
        lambda: chain.curvature(theta, X, y, theta),
    ):
        with pytest.raises(ValueError, match=r"takes images \(n, 1, height, width\)"):
            compute()


def test_images_smaller_than_the_kernels_are_refused():
    # Of -1 x -1 pixels there would be one, which nothing computes.
    layers = (nn.Conv2d(1, 6, 5), nn.GroupNorm(6, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3))
    learner = Learner(lambda: nn.Sequential(*layers))
    chain, theta = Chain.of(learner), learner.init(0)
    X, y = torch.zeros(2, 1, 3, 3), torch.tensor([0, 1])
    steps = Steps(learner, Adam())
    for compute in (
        lambda: chain.scores(theta, X),
        lambda: chain.curvature(theta, X, y, theta),
        lambda: steps.forward(steps.optimizer.init(theta), X, y, 1),
    ):
        with pytest.raises(ValueError, match=r"kernels are larger than padded images of 3 x 3"):
            compute()


def test_a_rate_may_be_any_number():
    kernels = native.load(torch.float64)
    theta, grad = torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for rate in (1, np.float32(0.5)):
        found = fused.optimizer_of(Adam(lr=rate), kernels)
        assert isinstance(found, fused.FusedAdam)
        state = Adam(lr=rate).init(theta)
        expected = Adam(lr=rate).step(state, grad, *Adam().scalars(1))
        torch.testing.assert_close(found.step(state, grad, *found.scalars(1)), expected)


@pytest.mark.parametrize("side", [2, 4])
def test_threads_do_not_change_a_bit(side, monkeypatch):
    monkeypatch.setattr(fused, "_tile_side", lambda shape: side)
    kernels = native.load(torch.float32)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 16, 16, 40, generator=generator)
    row, w = torch.randn(4, 40, generator=generator), torch.randn(2, 14400, generator=generator)
    parameters = (w[0].view(40, 3, 3, 40), row[0], w[1].view(40, 3, 3, 40), row[1])
    norm = NormReLUPool(1e-5, 2, kernels)
    conv = Winograd(Convolution(torch.nn.Conv2d(40, 40, 3, padding=1)), kernels)

    def results(n_threads):
        torch.set_num_threads(n_threads)
        y, kept = norm.pair_forward(x, *row)
        z, z_kept = conv.pair_forward(x, *parameters)
        return (
            *(y, *norm.pair_backward(y, kept, *row)),
            *(z, *conv.pair_backward(z, z_kept, *parameters)),
            *blocks.gradient(*batch),
            *blocks.curvature(*batch, batch[0]),
        )

    learner = Learner(partial(ConvNet, (3, 16, 16), 3, width=40, depth=2))
    blocks = Chain.of(learner)
    images = torch.randn(16, 3, 16, 16, generator=generator)
    batch = learner.init(0), images, torch.arange(16) % 3
    before = torch.get_num_threads()
    try:
        one, two = results(1), results(2)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)


def test_a_user_without_a_home_whose_compiler_speaks_latin_1(
    load, tmp_path, monkeypatch, caplog, quick_to_compile
):
    compiler = tmp_path / "cc"
    compiler.write_bytes(b'#!/bin/sh\necho "\xe9" >&2\nexec cc "$@"\n')
    compiler.chmod(0o700)
    monkeypatch.setenv("CC", os.environ["CC"].replace("cc", str(compiler), 1))
    monkeypatch.delenv("XDG_CACHE_HOME")

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", unknown)
    with caplog.at_level(logging.INFO, "skdistill._engine.native"):
        assert load(torch.float32) is not None
    assert caplog.messages == [
        "the functions of native.c are not kept: Could not determine home directory."
    ]


def test_threads_are_tried_where_the_functions_will_lie(
    load, tmp_path, monkeypatch, quick_to_compile
):
    has_threads, folders = native._has_threads, []

    def tried(compiler, openmp, work):
        folders.append(work.parent)
        return has_threads(compiler, openmp, work)

    monkeypatch.setattr(native, "_has_threads", tried)
    assert load(torch.float32) is not None
    assert folders in ([], [tmp_path / "skdistill"])


def test_a_new_version_of_a_compiler_is_told(tmp_path):
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o700)
    commands = [[str(compiler), "-v"], ["sh", str(compiler)]]
    before = [native._version(command) for command in commands]
    compiler.write_text("#!/bin/sh\n# another\n")
    after = [native._version(command) for command in commands]
    assert all(a != b for a, b in zip(before, after, strict=True))
