"""Builds the pages of this version beside those of others, with a menu of the versions.

    python docs/versions.py SITE                     # where SITE is the root of a host
    python docs/versions.py SITE --base /skdistill/  # where it is a folder there
    python docs/versions.py SITE -- -j 2             # with options of sphinx-build

A release is built once, from its own tag, into ``SITE/0.2.0``; what is not a release yet, into
``SITE/dev``, again and again. The pages of other versions are left as they are: their menus read
``SITE/versions.json``, which lists the folders that are there. ``SITE/index.html`` leads to the
newest release. Any server of files will do, ``python -m http.server -d SITE`` for one. (Pages that
are opened as files have no menu, because browsers let them read no other file.)
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.version import InvalidVersion, Version

HERE = Path(__file__).parent
# The folder of what is not a release yet.
DEV = "dev"


def folder_of(version: str) -> str:
    """Return the name of a version's folder."""
    return DEV if Version(version).is_prerelease else version


def menu(version: str) -> dict:
    """Return the options with which the theme has a menu of versions, for conf.py."""
    return {
        # Relative to the folder of the version.
        "switcher": {"json_url": "../versions.json", "version_match": folder_of(version)},
        # It is written after the pages.
        "check_switcher": False,
        "navbar_start": ["navbar-logo", "version-switcher"],
        "show_version_warning_banner": True,
    }


def versions_in(site: Path) -> list[str]:
    """Return the versions whose pages are there: what is not released, then the newest first."""
    found = {}
    for folder in site.iterdir():
        try:
            # Before everything else.
            key = Version("0") if folder.name == DEV else Version(folder.name)
        except InvalidVersion:
            continue
        if (folder / "index.html").is_file():
            found[folder.name] = (folder.name == DEV, key)
    return sorted(found, key=found.get, reverse=True)


def write_list(site: Path, base: str) -> None:
    """Write the list of the versions, and the page that leads to the newest release."""
    names = versions_in(site)
    newest = next((name for name in names if name != DEV), DEV)
    # Links of the menu are relative to the page that has it, so they say the whole path.
    entries = [{"name": name, "version": name, "url": f"{base}{name}/"} for name in names]
    for entry in entries:
        if entry["version"] == newest != DEV:
            entry |= {"name": f"{newest} (stable)", "preferred": True}
    (site / "versions.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    (site / "index.html").write_text(
        '<!doctype html>\n<meta charset="utf-8">\n<title>skdistill</title>\n'
        f'<meta http-equiv="refresh" content="0; url={newest}/index.html">\n'
        f'<a href="{newest}/index.html">skdistill</a>\n',
        encoding="utf-8",
    )


def build(site: Path, name: str, options: list[str]) -> None:
    """Build the pages of a version into its folder, all of them or none."""
    if name != DEV and (site / name).exists():
        sys.exit(f"{site / name} is there already; remove it to build it anew")
    site.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=site, prefix=".") as work:
        pages = Path(work, "pages")
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-t", "versioned"]
        command += ["-b", "html", "-d", str(Path(work, "doctrees")), *options]
        subprocess.run([*command, str(HERE), str(pages)], check=True)
        shutil.rmtree(site / name, ignore_errors=True)
        pages.rename(site / name)


def main() -> None:
    """Build this version, and list all."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--base BASE] site [-- options of sphinx-build]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("site", type=Path, help="the folder of all versions")
    parser.add_argument("--base", default="/", help="the path, or the URL, at which it will be")
    # argparse takes what follows "--" for positional arguments, and not in all places.
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    args, options = parser.parse_args(given[:end]), given[end + 1 :]
    if not args.base.endswith("/") or not args.base.startswith(("/", "http://", "https://")):
        parser.error(f"--base must be a path or a URL that ends with '/'; got {args.base!r}")
    sys.path.insert(0, str(HERE.parent))
    import skdistill

    build(args.site, folder_of(skdistill.__version__), options)
    write_list(args.site, args.base)


if __name__ == "__main__":
    main()
