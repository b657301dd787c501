"""Claims and figures of made-up samples: supported, not supported, and undecided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gan.dynamics.claims import AGAINST, INCONCLUSIVE, PARTLY, SUPPORTED, TOO_SHORT, UNKNOWN, evaluate_claims, ratio
from gan.dynamics.report import dynamics_findings
from gan.dynamics.samples import MEAN_DRIFT, SMALL_SHARE, SampledRun, comparable, read_runs

DEFAULTS = {"small": 0.1, "zeros": 0.0, "variance": 1.0, "length": 1.0, "sigma": 1.0, "drift": 0.1}

ALL = ("Claim 1", "Claim 2", "Claim 3", "Claim 4")

DEAD = {"small": 1.0, "zeros": 1.0, "variance": 0.0, "length": 0.0, "sigma": 0.0, "drift": 3.0}  # its units are


def samples(norm: str, **changes: float | None) -> list[dict[str, Any]]:
    """Seven samples of a network of three layers; only those of the last third have the changed values."""
    late = {**DEFAULTS, **changes}
    entries = []
    for step in range(0, 700, 100):
        values = late if step >= 400 else DEFAULTS
        layer = {
            "gradient_small": values["small"],
            "gradient_zeros": values["zeros"],
            "gradient_variance": values["variance"],
            "gradient_norm": values["length"],
            "gradient_sigma": values["sigma"],
            "weight_mean": 0.01,
            "stable_rank": 3.0,
            "used_sigma": 1.0,
        }
        extreme = {key: 1e3 for key in layer}  # of one layer: the median does not see it
        entry = {
            "step": step,
            "kind": "classifier",
            "norm": norm,
            "part": 32,
            "layers": {"a": layer, "b": layer, "c": extreme},
            "activations": {name: {"drift": values["drift"], "offset": 0.2, "spread": 1.0} for name in "ab"},
        }
        if step in (0, 600):
            entry["spectra"] = {name: [2.0, 1.0, 0.5] for name in "abc"}
        entries.append(entry)
    return entries


def run(norm: str, **changes: float | None) -> SampledRun:
    return SampledRun(norm, tuple(samples(norm, **changes)))


def answers(*runs: SampledRun) -> dict[str, str]:
    return {claim.name: claim.answer for claim in evaluate_claims(runs)}


def test_all_claims_supported() -> None:
    runs = [run("none"), run("sn", small=0.2, variance=0.1, sigma=0.5, drift=2.0), run("msn", drift=0.3)]
    assert answers(*runs) == dict.fromkeys(ALL, SUPPORTED)
    texts = {claim.name: claim.sentence for claim in evaluate_claims(runs)}
    assert texts["Claim 1"].startswith(
        "Claim 1, SN makes gradients sparse: supported. In the last third of training 20.00% of"
    )
    assert "10.00% under none" in texts["Claim 1"] and "2 times as many" in texts["Claim 1"]
    assert "0.1 under sn, 1 under none (0.1 times)" in texts["Claim 2"] and "0.5 and 1 (0.5 times" in texts["Claim 2"]
    assert (
        "2 initial standard deviations" in texts["Claim 3"] and "For comparison: none 0.1, msn 0.3." in texts["Claim 3"]
    )
    assert "0.3 initial standard deviations under msn, 2 under sn (0.15 times" in texts["Claim 4"]


def test_no_claim_supported() -> None:
    runs = [run("none", small=0.2), run("sn", small=0.2, variance=2.0, drift=0.2), run("msn", drift=0.4)]
    assert answers(*runs) == dict.fromkeys(ALL, AGAINST)


@pytest.mark.parametrize("change", [{"variance": 0.1}, {"sigma": 0.1}])
def test_one_of_two_is_partial_support(change: dict[str, float]) -> None:
    assert answers(run("none"), run("sn", **change))["Claim 2"] == PARTLY


def test_nothing_to_remove_is_inconclusive() -> None:
    found = {claim.name: claim for claim in evaluate_claims([run("sn", drift=0.3), run("msn", drift=0.01)])}
    assert found["Claim 4"].answer == INCONCLUSIVE and "under sn there is no drift to remove" in found["Claim 4"].reason


def test_one_norm_alone() -> None:
    found = {claim.name: claim for claim in evaluate_claims([run("sn", drift=2.0)])}
    assert [found[name].answer for name in ALL] == [
        UNKNOWN,
        UNKNOWN,
        SUPPORTED,
        UNKNOWN,
    ]
    assert found["Claim 1"].reason == "This needs a run under none or bn too; there is only sn."
    assert found["Claim 4"].reason == "This needs a run under msn too; there is only sn."
    assert answers(run("bn")) == dict.fromkeys(ALL, UNKNOWN)


def test_batch_norm_stands_in_for_no_norm() -> None:
    found = evaluate_claims([run("bn"), run("sn", small=0.5)])[0]
    assert found.answer == SUPPORTED and "10.00% under bn" in found.reason


def test_several_runs_count_by_their_median() -> None:
    seeds = [run("sn", small=small) for small in (0.01, 0.3, 0.9)]
    assert answers(run("none"), *seeds)["Claim 1"] == SUPPORTED
    assert answers(run("none"), seeds[0], seeds[0], seeds[2])["Claim 1"] == AGAINST


def test_unlike_networks_and_missing_numbers_are_inconclusive() -> None:
    other = samples("sn")
    for entry in other:
        entry["layers"] = {"x": entry["layers"]["a"]}
    assert set(answers(run("none"), SampledRun("sn", tuple(other))).values()) == {INCONCLUSIVE}
    assert (
        evaluate_claims([run("none"), SampledRun("sn", tuple(other))])[0].reason
        == "The runs are of different networks."
    )
    broken = samples("sn")
    for entry in broken:
        for layer in entry["layers"].values():
            layer["gradient_small"] = None
    found = evaluate_claims([run("none"), SampledRun("sn", tuple(broken))])[0]
    assert found.answer == INCONCLUSIVE and "there are no finite numbers under sn" in found.reason
    initial = evaluate_claims([SampledRun("sn", tuple(samples("sn")[:1])), run("none")])[
        2
    ]  # before the first step: no training
    assert initial.answer == TOO_SHORT and "The run under sn has 0 steps, 200 are needed" in initial.reason


def shortened(norm: str, steps: int, samples_at: range) -> SampledRun:
    """A run with samples of a late part of training at these steps; its values would support every claim."""
    values = {"sn": {"small": 0.5, "variance": 0.1, "sigma": 0.1, "drift": 3.0}}.get(norm, {})
    entry = run(norm, **values).entries[-1]
    return SampledRun(norm, tuple({**entry, "step": step} for step in (*samples_at, steps)))


def test_short_runs_have_no_verdict() -> None:
    """7 steps of a classifier or 4 of a GAN say nothing, however clear their numbers are."""
    for steps in (4, 7, 199):
        found = evaluate_claims([shortened(norm, steps, range(steps)) for norm in ("none", "sn", "msn")])
        assert {claim.answer for claim in found} == {TOO_SHORT}
        assert f"The run under sn has {steps} steps, 200 are needed" in found[0].reason
    assert answers(*(shortened(norm, 200, range(0, 200, 50)) for norm in ("none", "sn", "msn"))) == dict.fromkeys(
        ALL, SUPPORTED
    )


def test_the_length_of_each_compared_run_counts() -> None:
    long, short = shortened("none", 300, range(0, 300, 50)), shortened("sn", 7, range(7))
    found = evaluate_claims([long, short, shortened("msn", 300, range(0, 300, 50))])
    assert {claim.answer for claim in found} == {TOO_SHORT} and "The run under sn has 7 steps" in found[0].reason
    seeds = [shortened("sn", 300, range(0, 300, 50)), short]
    assert "The run under sn has 7 steps" in evaluate_claims([long, *seeds])[0].reason
    assert answers(long, seeds[0], shortened("msn", 7, range(7)))["Claim 1"] == SUPPORTED  # msn is not part of it


def test_one_sample_in_the_last_third_is_too_few() -> None:
    sparse = [shortened(norm, 300, range(0, 100, 50)) for norm in ("none", "sn")]
    found = evaluate_claims(sparse)[0]
    assert found.answer == TOO_SHORT
    assert "has 1 sample in the last third of training, 2 are needed; use a smaller --dynamics" in found.reason


def test_networks_that_have_stopped_learning_are_inconclusive() -> None:
    alive = {norm: run(norm, drift=drift) for norm, drift in (("none", 3.0), ("sn", 2.0), ("msn", 0.1))}
    for dead, decided in (("sn", ()), ("none", ("Claim 4",)), ("msn", ("Claim 1", "Claim 2", "Claim 3"))):
        for change in (DEAD, {"zeros": 0.999}, {"length": 0.0}, {"variance": 0.0}):
            runs = {**alive, dead: run(dead, **{"drift": 3.0, **change})}
            found = evaluate_claims(list(runs.values()))
            assert {claim.name for claim in found if claim.answer not in (UNKNOWN, INCONCLUSIVE)} == set(decided), (
                dead,
                change,
            )
            assert f"Under {dead} the run has stopped learning" in "".join(claim.reason for claim in found)


def test_a_verdict_is_of_the_runs_that_learn() -> None:
    """The median over runs belongs to a learning run only if more than half of them learn."""
    plain, learning, dead = run("none"), run("sn", small=0.5), run("sn", **DEAD)
    assert answers(plain, learning, learning, dead)["Claim 1"] == SUPPORTED
    found = evaluate_claims([plain, learning, dead])[0]
    assert found.answer == INCONCLUSIVE and "Under sn 1 of 2 runs have stopped learning" in found.reason


def test_drift_that_is_far_less_than_without_a_norm_is_partial_support() -> None:
    found = evaluate_claims([run("none", drift=70.0), run("sn", drift=1.1)])[2]
    assert found.answer == PARTLY and "0.0157 times the drift under none" in found.reason
    assert answers(run("none", drift=1.6), run("sn", drift=1.1))["Claim 3"] == SUPPORTED
    assert answers(run("none", drift=70.0), run("sn", drift=0.4))["Claim 3"] == AGAINST
    assert answers(run("none", drift=None), run("sn", drift=1.1))["Claim 3"] == INCONCLUSIVE
    assert "no run under none or bn to compare with" in evaluate_claims([run("sn", drift=1.1), run("msn")])[2].reason


def test_networks_of_other_widths_and_samples_of_other_sizes_are_inconclusive() -> None:
    wide, large = samples("sn", small=0.5), samples("sn", small=0.5)
    for entry in wide:
        if "spectra" in entry:
            entry["spectra"]["b"] = [2.0, 1.0]
    for entry in large:
        entry["part"] = 4
    for other, reason in (
        (wide, "The runs are of different networks: b has 2 and 3 singular values."),
        (large, "The runs were sampled on mini-batches of different sizes (32 and 4 images)."),
    ):
        found = evaluate_claims([run("none"), SampledRun("sn", tuple(other))])
        assert {(claim.answer, claim.reason) for claim in found} == {(INCONCLUSIVE, reason)}


def test_what_is_seen_before_a_mean_is_not_held_against_what_is_seen_after_it() -> None:
    """A 2x2 mean is merged with layer b under sn and msn, but cannot be under bn."""
    runs = []
    for norm, drift, pooled in (("bn", 1.0, []), ("sn", 4.0, ["b"]), ("msn", 4.0, ["b"])):
        entries = samples(norm, drift=drift)
        for entry in entries:
            entry["pooled"] = pooled
            entry["activations"]["a"]["drift"] = 2.0 * entry["activations"]["b"]["drift"]
        runs.append(SampledRun(norm, tuple(entries)))
    bn, sn, msn = comparable(runs)
    assert [own.late(MEAN_DRIFT) for own in (bn, sn, msn)] == [2.0, 8.0, 8.0]  # of layer a alone
    assert comparable(runs[1:]) == runs[1:] and comparable([]) == []
    assert "bn 2, msn 8" in evaluate_claims(runs)[2].reason


def test_ratios() -> None:
    assert (ratio(0, 0), ratio(1, 0), ratio(1, 4)) == (1.0, float("inf"), 0.25)


def test_the_rule_is_a_median_over_the_last_third() -> None:
    assert run("sn", small=0.7).late(SMALL_SHARE) == 0.7 and run("sn", small=0.7).values(SMALL_SHARE)[300] == 0.1


def write(folder: Path, entries: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "dynamics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def test_figures(tmp_path: Path) -> None:
    folders = [write(tmp_path / norm, samples(norm, drift=2.0)) for norm in ("none", "sn", "msn")]
    folders.append(write(tmp_path / "sn-again", samples("sn", drift=3.0)))
    found = dynamics_findings([*folders, tmp_path / "nothing"], "lr 0.1")
    assert found == dynamics_findings(folders, "lr 0.1")
    begins = [figure.caption.split(":")[0] for figure in found.figures]
    assert (
        begins[0].startswith("Claim 1, SN makes")
        and begins[1].startswith("Claim 2, SN controls")
        and begins[2] == "Claim 2, continued. Shown"
    )
    assert begins[3].startswith("Claim 3, SN lets") and begins[4].startswith("Claim 4, MSN removes")
    for figure, claim in zip([found.figures[index] for index in (0, 1, 3, 4)], found.claims, strict=True):
        assert claim.sentence in figure.caption and "lr 0.1" in figure.caption
    assert all(figure.svg and figure.svg.startswith("<svg ") for figure in found.figures)
    assert "sn (2 runs) from 0.1 at 0 to 2.5 at 600" in found.figures[4].alt
    assert "a from 0.1 at 0 to 2.5 at 600; b from" in found.figures[3].alt  # by layer
    assert any("Singular values of the raw weight of b at the end" in figure.alt for figure in found.figures)
    assert found.notes[0].startswith(
        "Training dynamics at lr 0.1, by 4 runs: Claim 1 (SN makes gradients sparse): not supp"
    )
    assert len(found.notes) == 1


def test_no_samples_no_figures(tmp_path: Path) -> None:
    assert dynamics_findings([tmp_path]).figures == () and dynamics_findings([]).notes == ()
    write(tmp_path / "other", [{"step": 1, "loss": 2.0}])
    assert read_runs([tmp_path / "other"]) == []


def test_a_single_sample_has_sentences_but_no_figures_over_steps(tmp_path: Path) -> None:
    found = dynamics_findings([write(tmp_path / "r", samples("sn")[:1])])
    assert len(found.notes) == 5 and found.notes[1].startswith("Claim 1, ")
    assert [figure.alt.split(",")[0] for figure in found.figures] == [
        "Singular values of the raw weight of b at the end"
    ]


def test_arms_of_one_norm_are_apart(tmp_path: Path) -> None:
    """Claims are about the arm that has the name of the norm, or else the first; each arm has its own line."""
    norms = {"r1": "none", "none": "none", "plain": "sn", "joint": "msn", "late": "msn"}
    drifts = dict(zip(norms, (9.0, 3.0, 2.0, 0.6, 1.0), strict=True))
    folders = {write(tmp_path / arm, samples(norm, drift=drifts[arm])): arm for arm, norm in norms.items()}
    found = dynamics_findings(list(folders), arms=folders)
    _, _, drift, removal = found.claims
    assert "are 2 initial standard deviations" in drift.reason
    assert "For comparison: r1 9, none 3, joint 0.6, late 1." in drift.reason
    assert (
        "is 0.6 initial standard deviations under msn (arm joint), 2 under sn (arm plain) (0.3 times" in removal.reason
    )
    shown = next(figure.alt for figure in found.figures if "Claim 4" in figure.caption)
    assert [f"; {arm} from" in f"; {shown.split(': ', 1)[1]}" for arm in drifts] == [True] * len(drifts)
    assert any(", under sn (arm plain), by layer" in figure.alt for figure in found.figures)
