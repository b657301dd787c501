"""`--features` means the same in every command, and its former name `--report-features` still works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gan.cli import main
from gan.runs import checkpoint
from tests.helpers.commands import SMALL, Call, refused


@pytest.mark.parametrize("command", ["train", "compare", "report", "export", "data stats"])
def test_one_flag_chooses_the_extractor(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "inception, digits, classifier:FILE, dinov2, dinov2:s, :b or :g, or clip; auto: digits" in text
    assert "--report-features" not in text


@pytest.mark.parametrize("words", [("--features", "digits"), ("--report-features", "digits"), ("--config", "c.json")])
def test_names_of_the_flag_and_of_the_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.json").write_text(json.dumps({"report_features": "digits"}))
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--dry-run", "--verbose", *SMALL, *words])
    assert stopped.value.code == 0 and '"features": "digits"' in capsys.readouterr().out


def test_a_flag_overrides_the_former_key_of_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text('report-features = "inception"\n')
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--dry-run", "--verbose", *SMALL, "--config", "c.toml", "--features", "digits"])
    assert stopped.value.code == 0 and '"features": "digits"' in capsys.readouterr().out


def test_the_key_on_disk_stays(call: Call, image_folder: Path) -> None:
    """Older versions read the files, and this one resumes those of older versions."""
    words = ("train", "r", "--data", image_folder, *SMALL, "--report-every", "2", "--report-num", "20")
    assert call(*words, "--features", "digits")[0] == 0
    state = checkpoint.load_checkpoint(Path("checkpoints/r/step-00000004.pt"))
    for config in (state["config"], json.loads(Path("checkpoints/r/config.json").read_text())["config"]):
        assert config["report_features"] == "digits" and "features" not in config
    code, told = call("train", "r", "--resume", "--steps", "6")
    assert code == 0 and "step 6: FID" in told, told


@pytest.mark.parametrize("command", ["train", "compare"])
def test_missing_inception_weights(
    call: Call, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.delenv("MSN_GAN_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    words = (command, "r", "--data", str(image_folder), "--report-every", "2")
    refused(call, 1, "set MSN_GAN_INCEPTION=FILE", f"classify features --data {image_folder}", command=words)
    told = call(*words)[1]
    assert ("--report-every 0" in told) == (command == "train")
    assert "--features-weights" not in told and "--features digits" not in told
