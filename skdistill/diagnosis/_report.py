"""What a diagnosis says: as text, HTML and JSON."""

import json
from dataclasses import asdict, dataclass, field
from html import escape
from textwrap import fill
from typing import Any, Literal

from ..evaluation._protocol import EvaluationResult

__all__ = ["Diagnosis", "Finding", "NotMade", "Severity"]

Severity = Literal["error", "warning"]

# Colors that can be read on white and on black.
_COLORS: dict[Severity, str] = {"error": "#d1242f", "warning": "#bf8700"}
_WIDTH = 88


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, with what shows it and what to do about it.

    Parameters
    ----------
    name : str
        The check that found it, one of `skdistill.diagnosis.CHECKS`.
    severity : {"error", "warning"}
        With an error, neither the set nor a number that is measured with this test data is to be
        relied on before it is mended. A warning says what could be better.
    evidence : str
        The numbers that show it.
    remedy : str
        The parameters to change, and the way out.
    """

    name: str
    severity: Severity
    evidence: str
    remedy: str


@dataclass(frozen=True)
class NotMade:
    """The outcome of a check that could not be made, with the reason."""

    reason: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `skdistill.diagnose` found; prints as text, and shows as a table in a notebook.

    Parameters
    ----------
    subject : str
        What was looked at.
    findings : list of Finding
        Errors first; empty if nothing is wrong.
    passed : list of str, default=[]
        Checks that found nothing.
    not_made : dict of str to str, default={}
        Checks that could not be made, each with the reason. They say nothing: neither that
        something is wrong nor that all is well.
    result : EvaluationResult or None, default=None
        The test accuracy of the networks that were trained on the set; None if none were.

    Examples
    --------
    >>> from skdistill.diagnosis import Diagnosis, Finding
    >>> finding = Finding("stagnation", "warning", "The loss was 2.3 and is 2.3.", "Go on longer.")
    >>> print(Diagnosis("a set", [finding], ["skipped-steps"], {"short-window": "It has none."}))
    Diagnosis of a set: 1 finding
    <BLANKLINE>
    WARNING stagnation
      Evidence: The loss was 2.3 and is 2.3.
      Remedy: Go on longer.
    <BLANKLINE>
    Nothing found by: skipped-steps
    Not made:
      short-window: It has none.
    """

    subject: str
    findings: list[Finding]
    passed: list[str] = field(default_factory=list)
    not_made: dict[str, str] = field(default_factory=dict)
    result: EvaluationResult | None = None

    def __str__(self) -> str:
        parts = [self._head()]
        if self.result is not None:
            parts[0] += f"\nTest accuracy: {self.result}"
        for finding in self.findings:
            lines = [f"{finding.severity.upper()} {finding.name}"]
            for title in ("evidence", "remedy"):
                text = f"{title.capitalize()}: {getattr(finding, title)}"
                lines.append(_wrapped(text))
            parts.append("\n".join(lines))
        lines = []
        if self.passed:
            lines.append(fill(f"Nothing found by: {', '.join(self.passed)}", _WIDTH))
        if self.not_made:
            lines.append("Not made:")
            lines += [_wrapped(f"{name}: {reason}") for name, reason in self.not_made.items()]
        return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])

    def _repr_html_(self) -> str:
        """Return the diagnosis as a notebook shows it."""
        lines = [f"<b>{escape(self._head())}</b>"]
        if self.result is not None:
            lines.append(f"<div>Test accuracy: {escape(str(self.result))}</div>")
        if self.findings:
            head = "".join(f"<th style='text-align:left'>{name}</th>" for name in _HEADS)
            rows = "".join(map(_row, self.findings))
            lines.append(f"<table><tr>{head}</tr>{rows}</table>")
        if self.passed:
            lines.append(f"<div>Nothing found by: {escape(', '.join(self.passed))}</div>")
        if self.not_made:
            items = (f"{escape(name)}: {escape(why)}" for name, why in self.not_made.items())
            listed = "".join(f"<li>{item}</li>" for item in items)
            lines.append(f"<div>Not made:<ul style='margin:0'>{listed}</ul></div>")
        return f"<div>{''.join(lines)}</div>"

    def to_html(self) -> str:
        """Return a page of HTML, to be written to a file.

        Returns
        -------
        str
        """
        title = escape(self._head())
        return (
            f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
            f"</head><body>{self._repr_html_()}</body></html>\n"
        )

    def to_json(self) -> str:
        """Return the diagnosis as JSON.

        Returns
        -------
        str
            An object with "subject", "findings" (objects with the fields of `Finding`), "passed",
            "not_made" and "result": null, or "mean", "std", "n_networks", "steps" and "n_diverged"
            of the test accuracy.

        Examples
        --------
        >>> import json
        >>> from skdistill.diagnosis import Diagnosis
        >>> json.loads(Diagnosis("a set", []).to_json())["findings"]
        []
        """
        result: dict[str, Any] | None = None
        if self.result is not None:
            result = {
                "mean": self.result.mean,
                "std": self.result.std,
                "n_networks": len(self.result.accuracies),
                "steps": int(self.result.steps[-1]),
                "n_diverged": self.result.n_diverged,
            }
        plain = {
            "subject": self.subject,
            "findings": list(map(asdict, self.findings)),
            "passed": list(self.passed),
            "not_made": dict(self.not_made),
            "result": result,
        }
        return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)

    def _head(self) -> str:
        n = len(self.findings)
        found = "nothing found" if n == 0 else f"{n} finding{'s' if n > 1 else ''}"
        return f"Diagnosis of {self.subject}: {found}"


_HEADS = ("severity", "finding", "evidence", "remedy")


def _row(finding: Finding) -> str:
    color = _COLORS[finding.severity]
    cells = [
        f"<b style='color:{color}'>{finding.severity}</b>",
        *map(escape, (finding.name, finding.evidence, finding.remedy)),
    ]
    style = "text-align:left;vertical-align:top"
    return f"<tr>{''.join(f'<td style={style!r}>{cell}</td>' for cell in cells)}</tr>"


def _wrapped(text: str) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
