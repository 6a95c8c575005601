"""The page of a simulation, and the same as JSON."""

import json
from dataclasses import asdict
from typing import Any

import pandas as pd

from .. import ROOT, atomic_write
from ..datasets.charts import number
from ..datasets.page import Section, write_page
from .findings import Findings, findings
from .plan import BROKEN, CONCEPT, SHIFT
from .policies import BLIND, FROZEN, SERVED
from .timeline import figures, picture

PAGE = ROOT / "reports" / "simulation.html"
WORDS = {
    BROKEN: "{column} is {how}, in the source as well, until it is mended",
    CONCEPT: "the truth changes where {column} is high",
    SHIFT: "rows with high {column} come more often",
}


def publish(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Write the page, the picture and the facts of a simulation; return what it shows, in lines."""
    found = findings(runs)
    write_page(PAGE, f"Simulation of {runs['faults']['plan']['model']}", _sections(runs, found))
    for suffix, content in (
        (".json", json.dumps({"findings": asdict(found), **runs})),
        (".svg", picture(runs["faults"])),
    ):
        with atomic_write(PAGE.with_suffix(suffix)) as part:
            part.write_text(content, encoding="utf-8")
    table = found_table(found)
    said = [f"{row['fault']}: found after {row['days to find']} days" for row in table.to_dict("records")]
    return [*said, *(f"{name}: {value}" for name, value in facts(found).items())]


def facts(found: Findings) -> dict[str, str]:
    """Return what is counted, by name."""
    told = {
        "false alarms of the control run": "no control run" if found.false_alarms is None else str(found.false_alarms),
        "promotions": str(found.promotions),
        "kept back by the gate": str(found.kept_back),
        "manual actions": str(found.by_hand),
        "rows lost": str(found.lost),
        "broken rows learned": str(found.learned),
    }
    return told | {f"mean loss, {policy}": number(found.losses[policy]) for policy in (SERVED, FROZEN, BLIND)}


def verdict(found: Findings) -> tuple[str, bool]:
    """Return in words what is most important, and whether it is good: nothing missed, and no policy lost less."""
    missed = [each.fault.kind for each in found.found if each.detected is None]
    said = [f"not found: {', '.join(missed)}" if missed else "every fault found"]
    said += [f"{found.lost} rows lost"] if found.lost else []
    said += [f"{found.learned} broken rows learned"] if found.learned else []
    best = min(found.losses, key=found.losses.__getitem__)
    other = [f"'{best}' has a lower loss"] if best != SERVED else []
    return "; ".join([*said, *other]), len(said) == 1 and not missed and not other


def found_table(found: Findings) -> pd.DataFrame:
    """Return a line for each fault."""
    lines = []
    for each in found.found:
        line = {"fault": each.fault.kind, "column": each.fault.column, "from day": each.fault.first + 1}
        how = "ten times as large" if each.fault.value is None else f"{number(each.fault.value)} in every row"
        line |= {"what": WORDS[each.fault.kind].format(column=each.fault.column, how=how)}
        line |= {"days to find": _or_never(each.detected), "days to recover": _or_never(each.recovered)}
        lines.append(line)
    return pd.DataFrame(lines)


def _or_never(days: int | None) -> str:
    return "not found" if days is None else str(days)


def _sections(runs: dict[str, dict[str, Any]], found: Findings) -> list[Section]:
    run, (state, good) = runs["faults"], verdict(found)
    sections = [
        Section("What it shows", state, good, _how(run), facts=facts(found), table=found_table(found)),
        Section("Run with faults", "", None, "", figures(run)),
    ]
    if "control" in runs:
        quiet = found.false_alarms == 0
        sections.append(Section("Control run", f"{found.false_alarms} alarms", quiet, "", figures(runs["control"])))
    return sections


def _how(run: dict[str, Any]) -> str:
    """Return how the simulation was made, in sentences."""
    plan, own = run["plan"], f"{run['own_rows']:,}"
    generated = (
        f"The table has {own} rows, which is too few: rows are drawn from them again and again, with noise of a fifth "
        "of a standard deviation in what is measured."
    )
    rows = generated if run["generated"] else f"Each row is one of the table's own {own}, drawn once, in random order."
    return (
        f"{plan['rows']} rows a day for {len(run['days'])} days, asked over HTTP of the project's own service; labels "
        f"come {plan['delay']} days later, and with them the rows in the source, which keeps {plan['kept']} days. "
        f"{rows} Retrained every {plan['every']} days and whenever the daily watch finds a reason, always through the "
        f"gate. '{BLIND}' is the same fit of all that the source holds, with no look at it and no gate. Recovered: the "
        "loss is within a quarter of its rise."
    )
