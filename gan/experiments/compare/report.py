"""Report of a comparison, from its report.json."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gan.config.plugins import describe
from gan.experiments import report_parts as parts
from gan.experiments.compare.arm_table import arm_table, equality_facts
from gan.experiments.compare.charts import comparison_charts, difference_charts, sample_grids
from gan.experiments.compare.conclusion import conclusions
from gan.experiments.compare.options import lr_grid_facts
from gan.experiments.compare.paired_tables import paired_tables
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.score_error import score_error_table
from gan.experiments.compare.tuning_report import tuning_chart, tuning_facts, tuning_sentences, tuning_tables
from gan.experiments.provenance import provenance_facts
from gan.experiments.summary import Result, select_results
from gan.metrics.score_table import SCORES, Score
from gan.report.document import Figure, Report, Table, best_cells
from gan.training.health import FLAG_MEANINGS
from gan.utils.counted import counted


def comparison_report(record: parts.Record, folder: Path) -> Report:
    """Build the report of a comparison.

    Args:
        record: content of report.json; at least one training is done.
        folder: folder of the comparison.
    """
    config, images = record["config"], Path(record["data"]["name"]).name
    plan, tuning = ComparePlan.from_dict(config), record.get("tuning")
    tested = {**record, "trainings": select_results(record["trainings"], setting="")} if tuning else record
    groups = sample_grids(tested, folder)
    grids = groups[0][1] if groups else ()
    if record["real_grid"]:
        real = Figure(f"Grid of real images of {images}", f"Real: {images}", folder / record["real_grid"])
        grids = (real, *grids)
    charts, notes = parts.dynamics_parts(
        tested, folder, "setting", lambda setting: f"setting {setting}" if setting else ""
    )
    first, *tables = _tables(tested, plan)
    return Report(
        title=f"{config['train']['preset']} on {images}: {', '.join(parts.unique(record['trainings'], 'norm'))}",
        first=replace(first, notes=(*first.notes, *notes)),
        first_charts=tuple(difference_charts(tested)),
        stopped=parts.stopped_note(record),
        grids=grids,
        charts=(*comparison_charts(tested), *(tuning_chart(tuning) if tuning else ()), *charts),
        facts=tuple(_facts(record, plan)),
        command=record["command"],
        made=record["made"],
        summary=(*conclusions(record), *(tuning_sentences(tuning, plan.compare.then) if tuning else ())),
        tables=tuple(tables),
        more_grids=tuple(groups[1:]),
        side_by_side=True,
        commands=tuple(
            (f"The same training as {result['folder']}, by itself", result["command"]) for result in record["trainings"]
        ),
    )


def _tables(record: parts.Record, plan: ComparePlan) -> list[Table]:
    rows: list[Result] = record["rows"]
    tables = [arm_table(plan)] if plan.own_arms or plan.chosen or plan.compare.budget == "seconds" else []
    tables += [_outcome_table(rows)] if record["lr_grid"] else []
    if rows:
        counts = {"Seeds": [str(row["seeds"]) for row in rows], "Diverged": [str(row["diverged"]) for row in rows]}
        tables.append(_score_table("At the end of training", rows, "final", counts, _notes(record)))
        steps = {"Step": [parts.number_cell(row["best_step"], "{:,.0f}") for row in rows]}
        note = "Each checkpoint is picked for its lowest FID, so optimistic. Step: the median over seeds."
        tables.append(_score_table("At the evaluation with the lowest FID", rows, "best", steps, [note]))
        tables += [*paired_tables(record), *score_error_table(rows, record["trainings"])]
    if record.get("tuning"):
        tables += tuning_tables(record["tuning"])
        if not rows:
            tables[-2] = replace(tables[-2], notes=(*tables[-2].notes, *record["score_warnings"], *record["warnings"]))
    return [*tables, *([_training_table(rows)] if rows else [])]


def _score_cell(row: Result, kind: str, score: Score, missing: str = "-") -> str:
    values = row[kind].get(score.key, {"values": []})["values"]
    return parts.mean_cell(values, digits=score.digits, factor=score.factor, missing=missing)


def _score_table(
    heading: str, rows: Sequence[Result], kind: str, more_columns: Mapping[str, list[str]], notes: list[str]
) -> Table:
    """Build the table of all scores; the best of each score is highlighted within each setting."""
    columns = {"Arm": list(map(parts.row_name, rows))}
    scores = [score for score in SCORES if all(score.key in row[kind] for row in rows)]
    for score in scores:
        columns[score.header] = [_score_cell(row, kind, score, "diverged" if row["diverged"] else "-") for row in rows]
    best: set[tuple[int, int]] = set()
    for setting in parts.unique(rows, "setting"):
        values: dict[int, list[float | None]] = {}
        for column, score in enumerate(scores, 1):
            means = (row[kind][score.key]["mean"] if row["setting"] == setting else None for row in rows)
            values[column] = [None if mean is None else score.better * mean for mean in means]
        best |= best_cells(values)
    return parts.table_of(heading, {**columns, **more_columns}, notes, best)


def _outcome_table(rows: Sequence[Result]) -> Table:
    norms = parts.unique(rows, "norm")
    columns = {"Arm": norms}
    for setting in parts.unique(rows, "setting"):
        outcomes = {row["norm"]: _outcome(row) for row in select_results(rows, setting=setting)}
        columns[setting] = [outcomes.get(norm, "-") for norm in norms]
    notes = (
        "Final FID of the trainings that did not diverge. Collapsed: flagged g-collapsed at the end.",
        "The settings are those of Miyato et al. 2018, table 1; the protocol lists them.",
    )
    return parts.table_of("Outcome of each arm under each setting", columns, notes)


def _outcome(row: Result) -> str:
    counts = row["survival"]
    parts = [f"{counts[name]} of {row['seeds']} {name}" for name in ("diverged", "collapsed") if counts.get(name)]
    if row["final"]["fid"]["mean"] is not None:
        parts.insert(0, _score_cell(row, "final", SCORES[0]))
    return "; ".join(parts)


def _training_table(rows: Sequence[Result]) -> Table:
    columns = {
        "Arm": map(parts.row_name, rows),
        "D parameters": [f"{row['parameters']:,}" for row in rows],
        "Added": [f"{row['added_parameters']:+,}" for row in rows],
        "Images/s": [parts.number_cell(row["images_per_second"], "{:,.0f}") for row in rows],
        "Seconds": [parts.number_cell(row["seconds"], "{:,.1f}") for row in rows],
        "Peak memory, MB": [parts.number_cell(row["peak_memory"], "{:,.0f}", 1e-6) for row in rows],
        "Health flags": map(_flags, rows),
    }
    flags = dict.fromkeys(name for row in rows for name in row["health"])
    notes = [
        "Added: parameters of the discriminator beyond those without normalization.",
        "Images/s: real images, in training alone (median of the log). Seconds: likewise, without evaluation and file "
        "writing. Both include what other work on the machine (--jobs) cost.",
        "Peak memory: on a GPU the memory that torch held; otherwise that of the whole process during training, with "
        "the images, the extractor and memory left by earlier trainings, so the order can change it by a few percent.",
        *(f"{name}: {FLAG_MEANINGS[name]}." for name in flags if name in FLAG_MEANINGS),
    ]
    return parts.table_of("Training", columns, notes)


def _flags(row: Result) -> str:
    parts = (f"{name} {n['raised']}/{row['seeds']}, at the end {n['at_end']}" for name, n in row["health"].items())
    return "; ".join(parts) or "none"


def _notes(record: parts.Record) -> list[str]:
    rows = record["rows"]
    fids = [row["final"]["fid"]["values"] for row in rows]
    notes = [*record["score_warnings"], *record["warnings"], *parts.spread_notes(fids)]
    notes.append("↓ less is better, ↑ more is better. Scores are those of the EMA generator.")
    if any(row["diverged"] for row in rows):
        notes.append(f"{parts.DIVERGED_NOTE}; in the charts they are lines of their own.")
    notes += _diverged_notes(record["trainings"])
    return notes


def _diverged_notes(trainings: Sequence[Result]) -> list[str]:
    """Return a line for each arm and setting: after which step each seed diverged, and its lowest FID until then."""
    seeds: dict[str, list[str]] = {}
    for result in trainings:
        if result["diverged"]:
            best = f", lowest FID until then {result['best']['fid']:.2f}" if result["best"] else ""
            text = f"seed {result['seed']} after step {result['diverged']['step']:,}{best}"
            seeds.setdefault(parts.row_name(result), []).append(text)
    return [f"{name} diverged: {'; '.join(texts)}." for name, texts in seeds.items()]


def _facts(record: parts.Record, plan: ComparePlan) -> list[tuple[str, str]]:
    """Return the protocol: training, fairness, scoring, configuration, and machines."""
    config = record["config"]
    train = config["train"]
    steps, every = counted(train["steps"], "generator step"), counted(train["report_every"], "step")
    facts = [
        ("recipe", f"{train['preset']}: {train['network']}, {train['loss']} loss, {steps}"),
        ("images", parts.image_set_text(record["data"], train)),
        ("arms", ", ".join(arm.name for arm in plan.arms)),
        ("seeds", ", ".join(map(str, sorted({training.seed for training in plan.trainings()})))),
        *equality_facts(plan),
        ("evaluations", f"every {every} and at the end, {counted(train['report_num'], 'image')} each"),
        *([("own code", describe(record["plugins"]))] if "plugins" in record else []),
        *_initial_states(record),
        *(lr_grid_facts() if record["lr_grid"] else ()),
        *(tuning_facts(record["tuning"]) if record.get("tuning") else ()),
    ]
    for key, value in (record["protocol"] or {}).items():
        if value is not None and key != "seed":
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            facts.append((f"scores: {key.replace('_', ' ')}", text))
    settings = ", ".join(f"{key} {value}" for key, value in train.items() if key not in ("norm", "seed"))
    return [*facts, ("all settings", settings), *provenance_facts(record["trainings"])]


def _initial_states(record: parts.Record) -> list[tuple[str, str]]:
    """Return the SHA-256 hashes of the initial state of each seed."""
    hashes: dict[int, set[str]] = {}
    for result in record["trainings"]:
        start = result["start"]
        text = f"generator {start['generator'][:16]}, raw discriminator {start['discriminator'][:16]}"
        hashes.setdefault(result["seed"], set()).add(text)
    return [(f"start of seed {seed} (SHA-256)", "; ".join(sorted(texts))) for seed, texts in sorted(hashes.items())]
