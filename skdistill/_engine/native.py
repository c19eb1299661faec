"""The functions of ``csrc/native.c``, compiled for this machine when they are first needed.

A C compiler (``$CC`` or ``cc``) takes some seconds for them. What it makes is kept in the user's
cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``), under a name that the source, the compiler and
the processor decide; without such a folder they are compiled for each process. Without a C
compiler, or if ``SKDISTILL_NATIVE=0`` is in the environment, there are none, and torch's own
operations compute the same, slower. A compiler that cannot use the OpenMP library of torch's makes
functions for one core.
"""

import _ctypes
import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

_logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).parent / "csrc" / "native.c"
_REAL = {torch.float32: "float", torch.float64: "double"}
_FLAGS = ["-O2", "-std=gnu11", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]
# Enough of a program to see whether there are threads.
_THREADS = """
void fill(int *x, int n) {
#pragma omp parallel for
    for (int i = 0; i < n; i++) x[i] = i;
}
"""
# The compiler may hang, or a network's file system.
_SECONDS = 120

# Arguments of each function: "p" is an array, "n" a size, "d" a number in double precision. With
# "!" it returns 1 if memory was short, 2 if a label or a row is out of range, and else 0.
_FUNCTIONS = {
    "winograd": "p" * 11 + "n" * 7,
    "winograd_adjoint": "p" * 10 + "n" * 7,
    "winograd_kernels": "pppnnn",
    "winograd_kernels_adjoint": "ppnnn",
    "few_inputs": "!ppppnnnnnnnnn",
    "few_inputs_weights": "!pppnnnnnnnnn",
    "few_inputs_folded": "!ppnnnnnnnn",
    "few_inputs_block": "!" + "p" * 12 + "n" * 10 + "d",
    "few_inputs_block_adjoint": "!" + "p" * 15 + "n" * 10,
    "blocks_sizes": "ppnnn",
    "blocks_forward": "!pppppppnn",
    "blocks_backward": "!pppppppppnn",
    "steps_sizes": "pp",
    "adam_steps": "!pppppnnn",
    "adam_steps_adjoint": "!pppppppnn",
    "adam": "pppndddddd",
    "adam_adjoint": "pppppndddddd",
    "norm_relu_pool": "pppppnnnnnd",
    "norm_relu_pool_backward": "pppppppnnnnn",
    "norm_relu_pool_pair": "pppppppnnnnnd",
    "norm_relu_pool_pair_backward": "ppppppppnnnnn",
}
_TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_ssize_t, "d": ctypes.c_double}


@cache
def load(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the functions for arrays of a precision, or None if they cannot be had."""
    if dtype not in _REAL or os.environ.get("SKDISTILL_NATIVE") == "0":
        return None
    try:
        library = _library(_REAL[dtype])
        for name, kinds in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes = [_TYPES[kind] for kind in kinds.lstrip("!")]
            function.restype = _check if kinds.startswith("!") else None
    except Exception as error:
        # They are optional: a machine without a C compiler still gets the result.
        _logger.info("without the functions of native.c: %s", error)
        return None
    return library


def _check(failed: int) -> None:
    if failed == 1:
        raise MemoryError("no memory for a step of a network.")
    if failed:
        raise IndexError("a label is none of the network's classes, or a row none of the samples.")


def _library(real: str) -> ctypes.CDLL:
    """Return the compiled library, compiling it unless it is kept."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if sys.platform == "win32" or shutil.which(compiler[0]) is None:
        raise FileNotFoundError(f"no C compiler {compiler[0]!r}")
    flags = [*_FLAGS, "-march=native", f"-DREAL={real}"]
    openmp = _openmp()
    try:
        return _kept(_folder(), compiler, flags, openmp)
    except OSError as error:
        # The disk may be full, say, or run no programs.
        _logger.info("the functions of native.c are not kept: %s", error)
    with tempfile.TemporaryDirectory(prefix="skdistill-") as work:
        if openmp is not None and not _has_threads(compiler, openmp, Path(work)):
            openmp = None
        return ctypes.CDLL(str(_made(compiler, flags, openmp, Path(work))))


def _kept(folder: Path, compiler: list[str], flags: list[str], openmp: str | None) -> ctypes.CDLL:
    """Return the library that a folder keeps, or make it and keep it there."""
    identity = [
        *(part.read_text() for part in sorted(_SOURCE.parent.glob("*.[ch]"))),
        *compiler,
        *_version(compiler),
        *flags,
        str(openmp),
        platform.machine(),
        *platform.libc_ver(),
        _processor(),
    ]
    name = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:20]
    file = folder / f"native-{name}.so"
    if _is_whole(file):
        with suppress(OSError):  # of another system than this one
            return ctypes.CDLL(str(file))
    # What has been loaded cannot be removed from a network's file system.
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        if openmp is not None and not _has_threads(compiler, openmp, Path(work)):
            return _kept(folder, compiler, flags, None)
        made = _made(compiler, flags, openmp, Path(work))
        library = ctypes.CDLL(str(made))
        try:
            checksum = hashlib.sha256(made.read_bytes()).digest()
            with made.open("ab") as stream:
                stream.write(checksum)
            # At once, because other processes may look for it, or make it too.
            os.replace(made, file)
        except OSError as error:
            _logger.info("the functions of native.c are not kept: %s", error)
    return library


def _has_threads(compiler: list[str], openmp: str, work: Path) -> bool:
    """Return whether what a compiler makes can use an OpenMP library.

    Another compiler than gcc may know no ``-fopenmp``, or call another library than torch's. It is
    tried in the folder from which the functions will be loaded: not every one allows that.
    """
    source, made = work / "threads.c", work / "threads.so"
    source.write_text(_THREADS)
    command = [*compiler, "-fopenmp", "-fPIC", "-shared", str(source), openmp, "-o", str(made)]
    try:
        _run(command)
        # Unloaded, because a network's file system keeps what is in use.
        _ctypes.dlclose(ctypes.CDLL(str(made))._handle)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        _logger.info("the functions of native.c are compiled for one core: %s", error)
        return False
    return True


def _made(compiler: list[str], flags: list[str], openmp: str | None, work: Path) -> Path:
    """Compile the functions."""
    made, of_source = work / "native.so", work / "native.o"
    threads, linked = ([], []) if openmp is None else (["-fopenmp"], [openmp])
    _run([*compiler, *flags, *threads, "-c", str(_SOURCE), "-o", str(of_source)])
    _run([*compiler, "-shared", str(of_source), *linked, "-lm", "-o", str(made)])
    return made


def _version(compiler: list[str]) -> list[str]:
    """Return what changes with a compiler's version, without asking it, which would take time.

    The compiler may be the second word, after a cache ("ccache gcc").
    """
    files = [Path(file).stat() for word in compiler if (file := shutil.which(word))]
    return [f"{about.st_size} {about.st_mtime_ns}" for about in files]


def _is_whole(file: Path) -> bool:
    """Return whether a library is there as it was made, with its checksum at the end.

    One that was cut short, because the machine went down, would end the process that loads it.
    """
    if not file.exists():
        return False
    content = file.read_bytes()
    size = len(content) - hashlib.sha256().digest_size
    return size > 0 and hashlib.sha256(content[:size]).digest() == content[size:]


def _openmp() -> str | None:
    """Return the OpenMP library that torch has loaded: a second one would have its own threads."""
    torch.get_num_threads()
    found = [info["filepath"] for info in threadpool_info() if info["user_api"] == "openmp"]
    of_torch = [file for file in found if Path(torch.__file__).parent in Path(file).parents]
    return next(iter([*of_torch, *found]), None)


def _processor() -> str:
    """Return what decides which instructions there are: home folders are shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _folder() -> Path:
    """Return a folder to keep the library in that only this user can write.

    Raises
    ------
    OSError
        If there is none.
    """
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # a user without a home
        raise FileNotFoundError(str(error)) from error
    folder = Path(caches) / "skdistill"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o022:
        # The user's own, made by hand. What is in it may be anybody's.
        folder.chmod(0o700)
        for file in folder.glob("native-*.so"):
            file.unlink(missing_ok=True)
    about = folder.stat()
    if about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} must be a folder that only this user can write.")
    return folder


def _run(command: list[str]) -> None:
    # A compiler speaks the language of its user, in any encoding.
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
