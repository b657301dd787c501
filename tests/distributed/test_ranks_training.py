"""Jobs of two ranks from their beginning to their end, and all that can come between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.distributed import process_group
from gan.errors import UserError
from gan.runs import checkpoint, log
from gan.runs.run_dir import RunDirectory
from gan.training.trainer import Trainer
from gan.utils import files
from tests.helpers.jobs import command, lines
from tests.helpers.ranked_runs import SMALL, state_of, train
from tests.helpers.states import same_bytes


def at_step(step: int, rank: int, action: Callable[[], None]) -> None:
    """Do something on one rank when a training step is about to begin."""
    real = Trainer.train_step

    def counted(self: Trainer) -> None:
        if self.step == step and process_group.rank() == rank:
            action()
        real(self)

    Trainer.train_step = counted  # type: ignore[method-assign]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_rank_1() -> None:
    process_group._REASONS_TIMEOUT = 0.5
    at_step(10, 1, kill)


def kill_rank_0() -> None:
    process_group._REASONS_TIMEOUT = process_group._REPORT_TIMEOUT = 0.5
    at_step(10, 0, kill)


def test_rank_0_alone_writes(whole: Path) -> None:
    run = RunDirectory("r", whole)
    names = {path.name for path in run.checkpoints.iterdir() if "tfevents" not in path.name}
    assert names == {"config.json", "log.jsonl", *(f"step-{step:08d}.pt" for step in (4, 8, 12))}
    assert len(list(run.checkpoints.glob("*tfevents*"))) == 1
    assert {path.name for path in run.samples.iterdir()} == {"real.png", "step-00000012.png"}
    assert [entry["step"] for entry in log.read_log(run.checkpoints / "log.jsonl")] == [3, 6, 9, 12]


def test_a_killed_rank_ends_the_job_which_resumes_exactly(tmp_path: Path, whole: Path, data: Path) -> None:
    ended = train(tmp_path, 2, *SMALL, "--data", data, before=kill_rank_1)
    assert [end.code for end in ended] == [1, -signal.SIGKILL]
    (line,) = lines(ended)
    assert "rank 1 is gone (of 2" in line
    assert line.endswith(
        "the last good checkpoint is checkpoints/r/step-00000008.pt; start the job again with --resume"
    )
    same_bytes(state_of(tmp_path, 8), state_of(whole, 8))
    resumed = train(tmp_path, 2, "--resume", "--device", "cpu")
    assert [end.code for end in resumed] == [0, 0], resumed[0].told
    same_bytes(state_of(tmp_path), state_of(whole))
    logs = [log.read_log(folder / "checkpoints" / "r" / "log.jsonl") for folder in (tmp_path, whole)]
    for ours, theirs in zip(*logs, strict=True):
        for timed in ("seconds", "images_per_second"):
            del ours[timed], theirs[timed]
        assert ours == theirs


@pytest.mark.slow
def test_three_ranks_resume_exactly(tmp_path: Path, data: Path) -> None:
    """The order in which three numbers are added matters to the bits; that of two does not."""
    for folder, before in (("whole", None), ("killed", kill_rank_1)):
        ended = train(tmp_path / folder, 3, *SMALL, "--data", data, "--batch", 12, before=before)
        assert [end.code for end in ended] == ([0, 0, 0] if before is None else [1, -signal.SIGKILL, 1])
    assert "rank 1 is gone (of 3" in lines(ended)[0] and len(lines(ended)) == 1
    assert [end.code for end in train(tmp_path / "killed", 3, "--resume", "--device", "cpu")] == [0, 0, 0]
    same_bytes(state_of(tmp_path / "killed"), state_of(tmp_path / "whole"))


def test_when_rank_0_is_killed_another_tells(tmp_path: Path, whole: Path, data: Path) -> None:
    ended = train(tmp_path, 2, *SMALL, "--data", data, before=kill_rank_0)
    assert [end.code for end in ended] == [-signal.SIGKILL, 1]
    (line,) = lines(ended)
    assert "rank 0 is gone (of 2" in line and "the last good checkpoint is checkpoints/r/step-00000008.pt" in line
    # and one process goes on where two were: with the means of both, and the same batches
    assert [end.code for end in train(tmp_path, 1, "--resume", "--device", "cpu")] == [0]
    assert state_of(tmp_path)["data"] == state_of(whole)["data"]
    ours, theirs = (log.read_log(folder / "checkpoints" / "r" / "log.jsonl")[2] for folder in (tmp_path, whole))
    assert ours["step"] == 9  # the means of steps 7 and 8 came with the checkpoint
    for name in ("loss_d", "loss_g", "d_accuracy"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def stop_rank_1() -> None:
    at_step(6, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))


def test_all_stop_at_one_step(tmp_path: Path, whole: Path, data: Path) -> None:
    ended = train(tmp_path, 2, *SMALL, "--data", data, before=stop_rank_1)
    assert [end.code for end in ended] == [128 + signal.SIGTERM] * 2
    assert "stopped at step 7, checkpoint saved; resume with: torchrun … msn_gan.py train r --resume" in ended[0].told
    assert ended[1].told == ""
    assert checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")[-1].name == "step-00000007.pt"
    assert [end.code for end in train(tmp_path, 2, "--resume", "--device", "cpu")] == [0, 0]
    same_bytes(state_of(tmp_path), state_of(whole))


def unreadable_on_rank_1() -> None:
    def fail() -> None:
        raise UserError("images: 07.png cannot be read")

    at_step(5, 1, fail)


def full_disk_on_rank_0() -> None:
    atomic_write = files.atomic_write

    def full(path: Path) -> Any:
        if path.name == "step-00000008.pt":
            raise OSError(28, "No space left on device", str(path))
        return atomic_write(path)

    checkpoint.atomic_write = full  # type: ignore[attr-defined]


def other_weights_on_rank_1() -> None:
    def disturb() -> None:
        with torch.no_grad():
            trainers[0].generator.to_image.bias[0] += 1e-6

    trainers: list[Trainer] = []
    begin = Trainer.__init__

    def noted(self: Trainer, *arguments: Any) -> None:
        begin(self, *arguments)
        trainers.append(self)

    Trainer.__init__ = noted  # type: ignore[method-assign]
    at_step(5, 1, disturb)


def interrupted_at_once() -> None:
    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        from gan.utils import signals

        signals._REPEAT_WINDOW = 0.0
        os.kill(os.getpid(), signal.SIGINT)

    at_step(5, 0, twice)


@pytest.mark.parametrize(
    "before, codes, parts",
    [
        (
            unreadable_on_rank_1,
            [1, 1],
            ["rank 1: images: 07.png cannot be read", "the last good checkpoint is checkpoints/r/step-00000004.pt"],
        ),
        (full_disk_on_rank_0, [1, 1], ["step-00000008.pt: cannot be written: No space left", "Free disk space"]),
        (other_weights_on_rank_1, [1, 1], ["rank 1 has other weights of the generator than rank 0", "--resume"]),
    ],
)
def test_a_failure_on_one_rank_ends_all_in_one_line(
    tmp_path: Path, data: Path, before: Callable[[], None], codes: list[int], parts: list[str]
) -> None:
    ended = train(tmp_path, 2, *SMALL, "--data", data, before=before)
    assert [end.code for end in ended] == codes, ended
    (line,) = lines(ended)
    for part in parts:
        assert part in line
    kept = checkpoint.newest_checkpoint(tmp_path / "checkpoints" / "r")
    assert kept is not None and kept[0].name == "step-00000004.pt"
    assert not list((tmp_path / "checkpoints" / "r").glob(".*"))


def test_a_second_signal_stops_at_once(tmp_path: Path, data: Path) -> None:
    """But not the same one, handed on by a launcher; and nobody need be told."""
    ended = train(tmp_path, 2, *SMALL, "--data", data, before=interrupted_at_once)
    assert [end.code for end in ended] == [130, 1] and lines(ended) == []
    assert checkpoint.list_checkpoints(tmp_path / "checkpoints" / "r")[-1].name == "step-00000004.pt"


def elsewhere_on_rank_1() -> None:
    if os.environ["RANK"] == "1":
        os.chdir("elsewhere")


@pytest.mark.parametrize(
    "arguments, code, line",
    [
        (("train", "--batch", "9"), 2, "--batch 9: cannot be split evenly over 2 ranks; choose a multiple of 2"),
        (("train", "--batch", "many"), 2, "Invalid value for '--batch'"),
        (("train", "--data", "nowhere.zip"), 2, "--data nowhere.zip: no such folder, zip or npz"),
        (("train", "--batch", "32", "--data", "here"), 2, "a batch of 32 images is more than the 24"),
        (("train", "--resume"), 1, "--resume: there is no run checkpoints/quickstart"),
        (("data", "info", "here"), 2, "data: runs in one process; torchrun is for report, sample, train"),
        (("sample", "r.pt"), 1, "r.pt: no such checkpoint or run"),
        (
            ("report", "here", "--num", "25", "--metrics", "is", "--features", "digits"),
            1,
            "here: has 24 images, fewer than --num 25",
        ),
    ],
)
def test_what_is_wrong_for_all_is_told_once(
    tmp_path: Path, data: Path, arguments: tuple[str, ...], code: int, line: str
) -> None:
    (tmp_path / "here").symlink_to(data)
    ended = command(tmp_path, 2, *arguments, before=impatient)
    told = lines(ended)
    assert [end.code for end in ended][0] == code and ended[1].code in (1, code)
    assert len(told) == 1 and line in told[0], ended
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and "here" not in path.parts}
    assert left == {f"rank-{rank}.{stream}" for rank in (0, 1) for stream in ("err", "out")}


def impatient() -> None:
    process_group._REPORT_TIMEOUT = 0.5


def test_other_images_on_another_machine(tmp_path: Path, data: Path, image_folder: Path) -> None:
    next(image_folder.rglob("*.png")).unlink()
    (tmp_path / "job" / "elsewhere").mkdir(parents=True)
    (tmp_path / "job" / "set").symlink_to(data)
    (tmp_path / "job" / "elsewhere" / "set").symlink_to(image_folder)
    ended = train(tmp_path / "job", 2, *SMALL, "--data", "set", before=elsewhere_on_rank_1)
    (line,) = lines(ended)
    assert "rank 1 and rank 0 differ: their images of --data set; give every machine the same files" in line


def test_a_dry_run_is_told_once(tmp_path: Path, data: Path) -> None:
    ended = train(tmp_path, 2, *SMALL, "--data", data, "--dry-run")
    assert [end.code for end in ended] == [0, 0], ended
    assert "fp32 on 2 ranks on cpu" in ended[0].printed and ended[1].printed == ""
