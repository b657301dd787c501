"""The report's table of arms and their settings, and what is equal for all of them."""

from gan.config.base import flag_name
from gan.config.train_config import TrainConfig
from gan.experiments import report_parts as parts
from gan.experiments.compare.arms import images_of, unequal_fields
from gan.experiments.compare.plan import ComparePlan
from gan.experiments.compare.rate_settings import RATES
from gan.experiments.compare.summary import START_WORDS
from gan.report.document import Table

_EQUAL = {
    "images": "real images shown, and all other settings",
    "steps": "generator steps, and all other settings",
    "seconds": "the time of training, by measurement, and all other settings",
}


def arm_table(plan: ComparePlan) -> Table:
    """A row for each arm: the settings in which arms differ, its steps and images."""
    configs = [plan.arm_config(arm) for arm in plan.arms]
    hidden = {"steps", "report_every"}  # shown as steps and images
    hidden |= set(RATES) if plan.compare.tune else set()
    differing = [
        name for name in vars(plan.train) if name not in hidden and any(name in arm.settings for arm in plan.arms)
    ]
    differing += RATES if plan.chosen else ()
    columns = {
        "Arm": [arm.name for arm in plan.arms],
        **{flag_name(name): [_value(config, name) for config in configs] for name in differing},
        "Steps": [f"{config.steps:,}" for config in configs],
        "Real images": [f"{images_of(config):,}" for config in configs],
    }
    notes = [f"Equal for all arms: {_EQUAL[plan.compare.budget]}."]
    if plan.chosen:
        notes.append(
            "Learning rates, betas and n_dis: the arm's best of the random settings, by final FID with seed 0."
        )
    if plan.compare.budget == "seconds":
        columns["Time of a step"] = [parts.number_cell(plan.step_times.get(arm.name), "{:.2f}") for arm in plan.arms]
        notes.append(
            f"Time of a step: as a multiple of that of {plan.reference_arm}, measured in turns before training. The "
            "number of steps follows from it. The seconds that trainings took are in the table of training."
        )
    return parts.table_of("Arms", columns, notes)


def _value(config: TrainConfig, name: str) -> str:
    """The value of a setting in words: that of its flag, or yes, no or - for a flag without one."""
    words = config.flags_of([name])
    if len(words) == 1:
        return "yes" if words == [flag_name(name)] else "no"
    return words[1] if words else "-"


def equality_facts(plan: ComparePlan) -> list[tuple[str, str]]:
    """Facts for the report: the parts of the start that are equal for all arms of a seed, and those that cannot be."""
    configs = [plan.arm_config(arm) for arm in plan.arms]
    unequal = {part: unequal_fields(part, configs) for part in START_WORDS}
    equal = [words for part, words in START_WORDS.items() if not unequal[part]]
    facts = [("equal for all arms", ", ".join(["the image set", *equal]))]
    for part, flags in unequal.items():
        if flags:
            facts.append(("not equal for all arms", f"{START_WORDS[part]}, since arms differ in {', '.join(flags)}"))
    return facts
