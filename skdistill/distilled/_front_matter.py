"""What the Hugging Face Hub reads of a card: YAML above the Markdown, with the license."""

import json
import re
from typing import TYPE_CHECKING, Any

from ._known import short

if TYPE_CHECKING:
    from ._dataset import DistilledDataset

__all__ = ["check_license", "front_matter"]

# The Hub's identifiers of licenses of data, https://huggingface.co/docs/hub/repositories-licenses.
# Any other license has the identifier "other", and a name.
_LICENSES = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc0-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0
    cc-by-sa-4.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m
    ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0
    lgpl-lr lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 other
    pddl postgresql unknown unlicense wtfpl zlib
"""
# Upper limits of the Hub's classes of sizes, and their names.
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}


def check_license(license: object) -> str:
    """Return the license of the training data as one line, or raise a ValueError."""
    text = short(license, 1000) if isinstance(license, str) else ""
    if not text:
        raise ValueError(
            "license must be the license of the training data: the Hub's identifier of it "
            '("cc-by-4.0"), another name, or "unknown" if you do not know it; '
            f"got {license!r:.200}."
        )
    return text


def front_matter(distilled: "DistilledDataset", title: str, license: str) -> str:
    """Return the YAML between its two lines of ``---``, with a line feed at the end."""
    kind = "image" if distilled.recipe.layout.is_image else "tabular"
    fields = {
        "pretty_name": title,
        **_license_fields(license),
        "task_categories": [f"{kind}-classification"],
        "size_categories": [_size(len(distilled))],
        "tags": ["dataset-distillation", "skdistill", "synthetic"],
        # It would look for tables or folders of images, and take the sheet of samples for one.
        "viewer": False,
    }
    # JSON on one line is YAML, and quotes whatever YAML would misread: `no`, `1.0`, `a: b`.
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _license_fields(license: str) -> dict[str, Any]:
    identifier = license.lower()
    if identifier in _LICENSES.split():
        return {"license": identifier}
    # The Hub wants a name of this form; the text of the card has the license as it was given.
    name = re.sub(r"[^a-z0-9.]+", "-", identifier[:100]).strip("-.")
    return {"license": "other", "license_name": name or "custom"}


def _size(n: int) -> str:
    return next((name for limit, name in _SIZES.items() if n < limit), "other")
