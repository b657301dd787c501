"""From report.json to what the pages of a comparison show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.dynamics.report import Findings, dynamics_findings
from gan.experiments import provenance
from gan.experiments.compare.charts import comparison_charts, sample_grids
from gan.experiments.compare.options import lr_grid_facts
from gan.experiments.compare.paired_test import multiplicity_note
from gan.experiments.compare.results import SCORES, Score
from gan.report.document import Figure, Report, Table
from gan.training.health import FLAG_MEANINGS
from gan.utils.confidence import Interval

Row = Mapping[str, Any]


def comparison_report(record: Mapping[str, Any], folder: Path) -> Report:
    """What the pages show.

    Args:
        record: the content of report.json; at least one training is done.
        folder: of the comparison.
    """
    config = record["config"]
    groups = sample_grids(record, folder)
    first = groups[0][1] if groups else ()
    if record["real_grid"]:
        name = Path(record["data"]["name"]).name
        real = Figure(f"Grid of real images of {name}", f"Real: {name}", folder / record["real_grid"])
        first = (real, *first)
    table, *tables = _tables(record)
    dynamics = _dynamics(record, folder)
    told = (note for found in dynamics for note in found.notes)
    return Report(
        title=f"{config['train']['preset']} on {Path(record['data']['name']).name}: {', '.join(config['norms'])}",
        first=replace(table, notes=(*table.notes, *told)),
        stopped=_stopped(record),
        grids=first,
        charts=(*comparison_charts(record), *(picture for found in dynamics for picture in found.pictures)),
        facts=tuple(_facts(record)),
        command=record["command"],
        made=record["made"],
        summary=tuple(_summary(record)),
        tables=tuple(tables),
        more_grids=tuple(groups[1:]),
        side_by_side=True,
        commands=tuple(
            (f"The same training as {result['folder']}, by itself", result["command"]) for result in record["trainings"]
        ),
    )


def _dynamics(record: Mapping[str, Any], folder: Path) -> list[Findings]:
    """For each setting, what was sampled of the runs that did not diverge."""
    found = []
    for setting in dict.fromkeys(result["setting"] for result in record["trainings"]):
        own = [one for one in record["trainings"] if one["setting"] == setting and not one["diverged"]]
        found.append(
            dynamics_findings([folder / one["folder"] for one in own], f"setting {setting}" if setting else "")
        )
    return found


def _name(row: Row) -> str:
    return f"{row['setting']}, {row['norm']}" if row["setting"] else row["norm"]


def _text(found: Mapping[str, Any], score: Score, nothing: str = "-") -> str:
    if found["mean"] is None:
        return nothing
    half = found["half_width"]
    return Interval(found["mean"] * score.factor, None if half is None else half * score.factor).text(score.digits)


def _scores(
    rows: Sequence[Row], kind: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]], frozenset[tuple[int, int]]]:
    """Header, cells, and which of them are the best of their column (within a setting)."""
    header = ("Norm", *(f"{score.title} {'↑' if score.better > 0 else '↓'}" for score in SCORES))
    cells = [
        (_name(row), *(_text(row[kind][score.key], score, "diverged" if row["diverged"] else "-") for score in SCORES))
        for row in rows
    ]
    best = set()
    for setting in dict.fromkeys(row["setting"] for row in rows):
        for column, score in enumerate(SCORES, 1):
            values = {
                number: score.better * row[kind][score.key]["mean"]
                for number, row in enumerate(rows)
                if row["setting"] == setting and row[kind][score.key]["mean"] is not None
            }
            if values and min(values.values()) < max(values.values()):
                best |= {(number, column) for number, value in values.items() if value == max(values.values())}
    return header, cells, frozenset(best)


def _summary(record: Mapping[str, Any]) -> list[str]:
    """What came out, for FID at the end."""
    if len(record["config"]["norms"]) < 2:
        return ["One norm only: there is nothing to hold it against, and no paired test."]
    tests = [test for test in record["paired"] if test["primary"]]
    if not tests:
        names = " and ".join(record["config"]["norms"][:2])
        return [f"No seed has both {names} at its end, so there is no paired test."]
    return [f"{'Setting ' + test['setting'] + ': ' if test['setting'] else ''}{test['words']}" for test in tests]


def _tables(record: Mapping[str, Any]) -> list[Table]:
    rows: list[Row] = record["rows"]
    tables = []
    if record["lr_grid"]:
        tables.append(_survival(rows))
    header, cells, best = _scores(rows, "final")
    counts = [(str(row["seeds"]), str(row["diverged"])) for row in rows]
    tables.append(
        Table(
            "At the end of training",
            (*header, "Seeds", "Diverged"),
            tuple((*row, *count) for row, count in zip(cells, counts, strict=True)),
            best,
            tuple(_notes(record)),
        )
    )
    header, cells, best = _scores(rows, "best")
    steps = ["-" if row["best_step"] is None else f"{row['best_step']:,.0f}" for row in rows]
    tables.append(
        Table(
            "At the snapshot with the lowest FID",
            (*header, "Step"),
            tuple((*row, step) for row, step in zip(cells, steps, strict=True)),
            best,
            ("Chosen by the FID that it shows, and so too good. Step: the median over seeds.",),
        )
    )
    if record["paired"]:
        tables.append(_paired(record))
    tables.append(_training(rows))
    return tables


def _survival(rows: Sequence[Row]) -> Table:
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    lines = []
    for norm in dict.fromkeys(row["norm"] for row in rows):
        found = {row["setting"]: row for row in rows if row["norm"] == norm}
        lines.append((norm, *(_outcome(found[name]) if name in found else "-" for name in settings)))
    notes = (
        "FID at the end of the trainings that did not diverge. Collapsed: flagged g-collapsed at the end.",
        "The settings are those of Miyato et al. 2018, table 1; see the protocol.",
    )
    return Table("Which norm survives which setting", ("Norm", *settings), tuple(lines), frozenset(), notes)


def _outcome(row: Row) -> str:
    counts = row["survival"]
    parts = [f"{counts[name]} of {row['seeds']} {name}" for name in ("diverged", "collapsed") if counts.get(name)]
    if row["final"]["fid"]["mean"] is not None:
        parts.insert(0, _text(row["final"]["fid"], SCORES[0]))
    return "; ".join(parts)


def _paired(record: Mapping[str, Any]) -> Table:
    scores = {score.key: score for score in SCORES}
    lines = []
    for test in record["paired"]:
        score = scores[test["score"]]
        half = test["half_width"]
        difference = Interval(test["difference"] * score.factor, None if half is None else half * score.factor)
        effect = test["effect_size"]
        lines.append(
            (
                f"{test['setting'] + ', ' if test['setting'] else ''}{score.title}"
                f"{', best' if test['kind'] == 'best' else ''}",
                difference.text(score.digits),
                "-" if effect is None else f"{effect:.2f}",
                f"{test['p']:.3g}",
                str(test["seeds"]),
            )
        )
    first, second = record["paired"][0]["norms"]
    notes = [
        f"Difference: {second} minus {first}, seed by seed, and its 95 % interval (Student's t). Effect size: Cohen's "
        "d_z, the mean difference over its standard deviation. p: exact two-sided sign-flip test, over all 2ⁿ signs; "
        "n seeds cannot give less than 2 / 2ⁿ.",
        multiplicity_note(record["paired"]),
    ]
    if left := {(test["setting"], tuple(test["left_out"])) for test in record["paired"] if test["left_out"]}:
        for setting, seeds in sorted(left):
            where = f" under setting {setting}" if setting else ""
            notes.append(f"Seeds left out{where}, for want of one of the two at its end: {', '.join(map(str, seeds))}.")
    header = ("Score", "Difference", "Effect size", "p", "Seeds")
    return Table(f"Paired test: {second} against {first}", header, tuple(lines), frozenset(), tuple(notes))


def _training(rows: Sequence[Row]) -> Table:
    lines = [
        (
            _name(row),
            f"{row['parameters']:,}",
            f"{row['added_parameters']:+,}",
            _number(row["images_per_second"], "{:,.0f}"),
            _number(row["seconds"], "{:,.1f}"),
            _number(row["peak_memory"], "{:,.0f}", 1e-6),
            "; ".join(
                f"{name} {of['raised']}/{row['seeds']}, at the end {of['at_end']}" for name, of in row["health"].items()
            )
            or "none",
        )
        for row in rows
    ]
    raised = dict.fromkeys(name for row in rows for name in row["health"])
    notes = [
        "Added: parameters of the discriminator beyond those that it has without any norm.",
        "Images/s: real images, in training alone (median of the log); seconds likewise, without scoring and files.",
        "Peak memory: on a GPU what torch held there; else that of the whole process while it trained, with the images "
        "and the network that scores, and with what trainings before it left behind: a few per cent follow the order.",
        *(f"{name}: {FLAG_MEANINGS[name]}." for name in raised if name in FLAG_MEANINGS),
    ]
    header = ("Norm", "D parameters", "Added", "Images/s", "Seconds", "Peak memory, MB", "Health flags")
    return Table("Training", header, tuple(lines), frozenset(), tuple(notes))


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else form.format(value * factor)


def _stopped(record: Mapping[str, Any]) -> str | None:
    done = len(record["trainings"])
    return None if done == record["planned"] else f"{done} of {record['planned']} trainings are done."


def _notes(record: Mapping[str, Any]) -> list[str]:
    rows = record["rows"]
    notes = list(record["warnings"])
    halves = [row["final"]["fid"]["half_width"] for row in rows]
    if any(half is not None for half in halves):
        notes.append("± is half of the 95 % interval of the mean over seeds (Student's t).")
    if any(row["final"]["fid"]["mean"] is not None and half is None for row, half in zip(rows, halves, strict=True)):
        notes.append("A mean without ± is that of one seed: it has no interval, and small differences say nothing.")
    notes.append("↓ less is better, ↑ more is better. Scores are of the averaged generator.")
    if any(row["diverged"] for row in rows):
        notes.append("Diverged trainings are counted, and are in no mean; in the charts they are lines of their own.")
    for result in record["trainings"]:
        if result["diverged"]:
            where = f"setting {result['setting']}, " if result["setting"] else ""
            best = f"; its lowest FID until then: {result['best']['fid']:.2f}" if result["best"] else ""
            step = result["diverged"]["step"]
            notes.append(f"{where}{result['norm']}, seed {result['seed']} diverged after step {step:,}{best}.")
    return notes


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The protocol: how it is fair, what was trained on, how it was scored."""
    config, data = record["config"], record["data"]
    train = config["train"]
    size = f"{train['resolution']}x{train['resolution']}x{train['channels']}"
    lines = [
        ("recipe", f"{train['preset']}: {train['network']}, {train['loss']} loss, {train['steps']:,} generator steps"),
        ("images", f"{data['images']:,} of {Path(data['name']).name}, {size} (SHA-256 {data['fingerprint']})"),
        ("norms", ", ".join(config["norms"])),
        ("seeds", ", ".join(map(str, range(config["seeds"])))),
        ("alike in all", "images and their order, latents, initial generator and raw discriminator weights of a seed"),
        ("snapshots", f"every {train['report_every']:,} steps and at the end, {train['report_num']:,} images each"),
        *_starts(record),
        *(lr_grid_facts() if record["lr_grid"] else ()),
    ]
    for key, value in (record["protocol"] or {}).items():
        if value is not None and key != "seed":
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            lines.append((f"scores: {key.replace('_', ' ')}", text))
    settings = ", ".join(f"{key} {value}" for key, value in train.items() if key not in ("norm", "seed"))
    lines.append(("all settings", settings))
    return [*lines, *provenance.provenance_facts(record["trainings"])]


def _starts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """SHA-256 of what the trainings of a seed started from."""
    found: dict[int, set[str]] = {}
    for result in record["trainings"]:
        start = result["start"]
        found.setdefault(result["seed"], set()).add(
            f"generator {start['generator'][:16]}, raw discriminator {start['discriminator'][:16]}"
        )
    return [(f"start of seed {seed} (SHA-256)", "; ".join(sorted(texts))) for seed, texts in sorted(found.items())]
