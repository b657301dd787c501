"""The benchmark of R3GAN's layers: its forms compute the same function, and a row has a time for each."""

from __future__ import annotations

import dataclasses

import r3gan_speed
import torch

from gan.config.presets import preset_config


def test_the_forms_of_a_layer_are_equal() -> None:
    x = torch.randn(2, 32, 8, 8).contiguous(memory_format=torch.channels_last)
    weight = r3gan_speed.random_weight(32, torch.float32)
    grouped = [form(x, weight) for form in r3gan_speed.CONVOLUTIONS.values()]
    for outputs in ([form(x) for form in forms.values()] for forms in (r3gan_speed.UP, r3gan_speed.DOWN)):
        for output in outputs[1:]:
            torch.testing.assert_close(output, outputs[0], rtol=1e-5, atol=1e-6)
    for output in grouped[1:]:
        torch.testing.assert_close(output, grouped[0], rtol=1e-5, atol=1e-5)


def test_a_row() -> None:
    row = r3gan_speed.measure("8 at 4", r3gan_speed.UP, r3gan_speed.random_map(8, 4, torch.bfloat16), 2)
    assert row[:2] == ["8 at 4", "bf16"] and len(row) == 2 + len(r3gan_speed.UP)
    assert all(float(cell) >= 0 for cell in row[2:])


def test_the_operations_of_a_step() -> None:
    config = dataclasses.replace(preset_config("r3gan-narrow"), data="digits", g_width=8, d_width=8, batch=2)
    header, _, *rows = r3gan_speed.profile_table(config, 1, 3).splitlines()
    assert header.startswith("| operation, 4 steps of ") and len(rows) == 3
    assert "aten::" in rows[0]
