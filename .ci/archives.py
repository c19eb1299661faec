"""Builds the wheel and the source archive, checks them, and tries the wheel without the sources.

    python .ci/archives.py dist                # with the packages that are installed here
    python .ci/archives.py dist --fresh        # with packages of its own, downloaded for it
    python .ci/archives.py dist --tag v0.2.0   # which must be a release of this version

Needs ``build`` and ``twine``, and git's list of the files that belong to the package.
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a source archive has besides the package: what describes and builds it. Setuptools adds the
# rest of its own accord.
SOURCES = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}
ADDED = re.compile(r"skdistill\.egg-info/[\w.-]+|tests/test_\w+\.py")


def package_files() -> set[str]:
    """Return the files of the package that git knows: nothing left over, nothing forgotten."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "skdistill"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {*done.stdout.split("\0")} - {""}


def names_in(archive: Path) -> set[str]:
    """Return the names of the files in a wheel, or in a source archive below its one folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return {name for name in file.namelist() if not name.endswith("/")}
    with tarfile.open(archive) as file:
        return {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}


def problems(archive: Path, package: set[str], version: str) -> list[str]:
    """Return what an archive lacks, and what it has that does not belong there."""
    names = names_in(archive)
    if archive.suffix == ".whl":
        about = f"skdistill-{version}.dist-info/"
        needed = package | {f"{about}METADATA", f"{about}RECORD", f"{about}licenses/LICENSE"}
        extra = {name for name in names - needed if not name.startswith(about)}
    else:
        needed = package | SOURCES
        extra = {name for name in names - needed if not ADDED.fullmatch(name)}
    return [
        *(f"{archive.name} lacks {name}" for name in sorted(needed - names)),
        *(f"{archive.name} has {name}, which does not belong there" for name in sorted(extra)),
    ]


def version_here() -> str:
    """Return the version of the sources, without importing them."""
    text = (ROOT / "skdistill" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.M).group(1)


def tag_problems(tag: str, version: str, changelog: str) -> list[str]:
    """Return why a tag is not that of a release of this version."""
    found = []
    if tag != f"v{version}":
        found.append(f"the tag must be v{version}, as in skdistill/_version.py; got {tag}")
    # "0.2.0 (2026-12-01)": a section whose date says that it is finished.
    if not re.search(rf"^{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n-+$", changelog, re.M):
        found.append(f'docs/changelog.rst has no section "{version} (date)"')
    return found


def try_wheel(wheel: Path, fresh: bool) -> None:
    """Install a wheel into an environment of its own and use it from an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment, empty = Path(folder, "environment"), Path(folder, "empty")
        empty.mkdir()
        venv.create(environment, symlinks=os.name != "nt")
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
        subprocess.run([*pip, *([] if fresh else ["--no-deps"]), str(wheel)], check=True)
        if not fresh:
            # torch is large: the packages of this environment come after those of the new one.
            site = sysconfig.get_path("purelib", "venv", vars={"base": str(environment)})
            here = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
            Path(site, "installed-here.pth").write_text("\n".join(here) + "\n")
        # -I: neither the folder of the script nor environment variables say where packages are.
        script = ROOT / ".ci" / "try_wheel.py"
        subprocess.run([str(python), "-I", str(script)], cwd=empty, check=True)


def main() -> None:
    """Build, check, try."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the archives go; it must be new or empty")
    parser.add_argument("--fresh", action="store_true", help="download the wheel's dependencies")
    parser.add_argument("--tag", default="", help="the tag of the release, if it is one")
    args = parser.parse_args()
    if args.folder.exists() and any(args.folder.iterdir()):
        sys.exit(f"{args.folder} must be new or empty")
    version, package = version_here(), package_files()
    if args.tag:
        changelog = (ROOT / "docs" / "changelog.rst").read_text(encoding="utf-8")
        found = tag_problems(args.tag, version, changelog)
        if found:
            sys.exit("\n".join(found))
    # The wheel is built from the source archive, as whoever installs that will build it.
    command = [sys.executable, "-m", "build", "--outdir", str(args.folder), str(ROOT)]
    subprocess.run(command, check=True)
    archives = sorted(args.folder.iterdir())
    names = [f"skdistill-{version}-py3-none-any.whl", f"skdistill-{version}.tar.gz"]
    if [archive.name for archive in archives] != names:
        sys.exit(f"{args.folder} must hold {names}; got {[each.name for each in archives]}")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *archives], check=True)
    found = [text for archive in archives for text in problems(archive, package, version)]
    if found:
        sys.exit("\n".join(found))
    try_wheel(archives[0].resolve(), args.fresh)


if __name__ == "__main__":
    main()
