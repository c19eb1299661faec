"""Writes the tables and figures of ``claims.rst``: what decides each claim, and what was found.

The plan and the rule are those of ``examples/reproduce``, and the rows are in the files of its
``results``. Nothing of either is typed here.
"""

import io
from pathlib import Path

from generated import write_all
from reproduction import escape, table
from scripts import load

NOT_RUN = "Not run yet.\n"
CLAIMS, RULE = load("claims_plan").CLAIMS, load("claims_rule")


def overview(results: Path) -> str:
    """Return a row for each claim: how far its runs are, and the verdict."""
    rows = []
    for number, claim in CLAIMS.items():
        found = claim.rows(results)
        cells = [len(part.cells(own)) for part, own in zip(claim.parts, found)]
        done = sum(cells) - sum(len(part.missing(own)) for part, own in zip(claim.parts, found))
        verdict = RULE.verdict(claim, found) if any(found) else "not run yet"
        hours = f"{claim.hours:g}"
        rows.append([str(number), claim.title, hours, f"{done} of {sum(cells)}", verdict])
    return table(["", "claim", "hours of a core", "runs done", "verdict"], rows)


def planned(claim, results: Path) -> str:
    """Return the runs of a claim: script, data, arguments, names and seeds."""
    rows = []
    for part, own in zip(claim.parts, claim.rows(results)):
        cells = part.cells(own)
        done = len(cells) - len(part.missing(own))
        seeds = ", ".join(map(str, part.seeds))
        if part.close is not None and len(part.seeds) > 1:
            seeds += f" (after the first only within {part.close:g} points of {part.names[0]})"
        names = ", ".join(part.names)
        call = f"``{part.script}.py --dataset {part.data} {part.arguments}``"
        rows.append([call, escape(names), escape(seeds), f"{done} of {len(cells)}"])
    return table(["script", "runs", "seeds", "done"], rows)


def asked(claim) -> str:
    """Return what must be above what, and by how much, for each finding to hold."""
    rows = []
    for finding in claim.findings:
        text = escape(finding.text)
        for k, statement in enumerate(finding.statements):
            which = " Any of these:" if finding.needs == "any" else ""
            rows.append(
                [
                    text + which if k == 0 else "",
                    escape(statement.better),
                    escape(statement.worse),
                    f"{statement.least:+g}",
                ]
            )
    return table(["finding", "must be above", "this", "by more than (points)"], rows)


def found(claim, rows: list[list[dict]], number: int) -> tuple[str, dict[str, str]]:
    """Return what was found of a claim, as reStructuredText, and its figures by file name."""
    if not any(rows):
        return NOT_RUN, {}
    judged = RULE.judge(claim, rows)
    lines, remarks = [], []
    for finding, statements in zip(claim.findings, judged):
        verdict = RULE.of_finding(finding, statements)
        for k, each in enumerate(statements):
            first = [escape(finding.text), verdict] if k == 0 else ["", ""]
            what = f"{each.statement.better} above {each.statement.worse}"
            lines.append([*first, escape(what), number_of(each), str(each.n_seeds), each.verdict])
            remarks += [f"* {escape(f'{what}: {text}.')}\n" for text in each.remarks]
    heads = ["finding", "verdict", "statement", "difference (points)", "seeds", "holds"]
    parts = [f"**{RULE.verdict(claim, rows)}**\n", table(heads, lines), *dict.fromkeys(remarks)]
    figures = {f"{number}-statements.svg": draw_statements(judged)}
    lines_of = {} if claim.lines is None else claim.lines(rows)
    if any(lines_of.values()):
        figures[f"{number}-lines.svg"] = draw_lines(lines_of)
    for name in figures:
        text = "Differences, their margins and what is asked for"
        if name.endswith("lines.svg"):
            text = "What was measured in the runs"
        parts.append(f".. image:: /generated/claims/{name}\n   :alt: {text}\n")
    return "\n".join(parts), figures


def number_of(judged) -> str:
    """Return a difference with its margin and what is asked for."""
    if judged.difference is None:
        return "–"
    margin = "" if judged.margin is None else f" ± {judged.margin:.1f}"
    return f"{judged.difference:+.1f}{margin}, asked: {judged.statement.least:+g}"


def draw_statements(judged: list[list]) -> str:
    """Return a figure of the differences of all statements, with margins and what is asked for."""
    known = [each for group in judged for each in group if each.difference is not None]
    figure, (axes,) = blank(1, height=0.6 + 0.35 * len(known))
    for y, each in enumerate(reversed(known)):
        axes.errorbar(each.difference, y, xerr=each.margin or 0.0, fmt="o", color="C0", capsize=3)
        axes.plot([each.statement.least] * 2, [y - 0.3, y + 0.3], color="C3")
    axes.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    names = [f"{each.statement.better}\nabove {each.statement.worse}" for each in reversed(known)]
    axes.set_yticks(range(len(known)), names, fontsize=6)
    axes.set_xlabel("points; red: what is asked for")
    return svg(figure)


def draw_lines(panels: dict[tuple[str, str], dict[str, list]]) -> str:
    """Return a figure with a panel for each kind of x: a line for each run, a color for a name."""
    panels = {names: lines for names, lines in panels.items() if lines}
    figure, all_axes = blank(len(panels), height=3.2 * len(panels))
    for axes, ((x_name, y_name), lines) in zip(all_axes, panels.items()):
        for k, (name, runs) in enumerate(lines.items()):
            for i, (x, y) in enumerate(runs):
                label = name if i == 0 else None
                style = "-" if k < 10 else "--"
                axes.plot(x, y, style, marker=".", color=f"C{k % 10}", linewidth=0.8, label=label)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg(figure)


def blank(n_rows: int, height: float):
    """Return an empty figure, and its axes below each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots(n_rows, squeeze=False)[:, 0]


def svg(figure) -> str:
    """Return a figure as a file, the same for the same figure."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.hashsalt": "skdistill"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def write(generated: Path, results: Path) -> None:
    """Write tables and figures into a folder, if they are not there already."""
    parts = {"overview.txt": overview(results)}
    for number, claim in CLAIMS.items():
        rows = claim.rows(results)
        text, figures = found(claim, rows, number)
        parts |= figures
        parts[f"{number}-plan.txt"] = planned(claim, results)
        parts[f"{number}-asked.txt"] = asked(claim)
        parts[f"{number}-found.txt"] = text
    write_all(generated / "claims", parts)
