"""Checkpoints come back as they were, or not at all."""

import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cmdml import checkpoint
from cmdml.checkpoint import load_checkpoint, save_checkpoint

STATE = {"epoch": 2, "history": [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 1 / 3}], "best": 0.7, "best_epoch": 1}


def parts(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.randn(3, 1, 8, 8)).square().sum().backward()
        optimizer.step()
    return {"model": model, "optimizer": optimizer}


@pytest.fixture
def saved(tmp_path):
    own = parts(0)
    state = STATE | {"weights": {k: v.clone().contiguous() for k, v in own["model"].state_dict().items()}}
    save_checkpoint(tmp_path / "c.safetensors", state, own, "run")
    return tmp_path / "c.safetensors", own, state


def test_it_comes_back_bit_identical_and_goes_on_the_same(saved):
    path, own, state = saved
    other = parts(1)
    found = load_checkpoint(path, other, "run")
    assert {k: v for k, v in found.items() if k != "weights"} == STATE
    for name, value in state["weights"].items():
        assert torch.equal(found["weights"][name], value)
    for each in (own, other):
        torch.manual_seed(5)
        each["optimizer"].zero_grad()
        each["model"](torch.randn(3, 1, 8, 8)).square().sum().backward()
        each["optimizer"].step()
    for a, b in zip(own["model"].state_dict().values(), other["model"].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_flipped_bit_anywhere_is_refused(saved):
    path, *_ = saved
    whole = path.read_bytes()
    for at in range(8, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="delete that file and train again"):
            load_checkpoint(path, parts(1), "run")


@pytest.mark.parametrize("one, other", [("optimizer/1.exp_avg", "optimizer/1.exp_avg_sq"),
                                        ("weights/0.bias", "weights/0.bios")])  # fmt: skip
def test_tensors_that_changed_places_or_names_are_refused(saved, one, other):
    path, *_ = saved
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    swapped = {one: other, other: one}
    save_file({swapped.get(name, name): value for name, value in tensors.items()}, path, metadata)
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_checkpoint(path, parts(1), "run")


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_what_no_longer_fits_is_refused_in_one_sentence_and_nothing_is_loaded(saved, part):
    path, *_ = saved
    other = parts(1)
    torch.manual_seed(3)
    wider = torch.nn.Sequential(torch.nn.Conv2d(1, 5, 3), torch.nn.BatchNorm2d(5))
    other[part] = wider if part == "model" else torch.optim.AdamW(wider.parameters())
    before = [value.clone() for value in other["model"].state_dict().values()]
    with pytest.raises(ValueError, match=f"does not fit the {part}: its code has changed; delete that file and train"):
        load_checkpoint(path, other, "run")
    assert all(torch.equal(a, b) for a, b in zip(before, other["model"].state_dict().values(), strict=True))
    other[part] = torch.nn.Linear(2, 2) if part == "model" else torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match=f"does not fit the {part}"):
        load_checkpoint(path, other, "run")


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_cut_file_is_refused(saved, cut):
    path, *_ = saved
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_checkpoint(path, parts(1), "run")


def test_another_runs_checkpoint_is_refused_and_nothing_is_loaded(saved):
    path, *_ = saved
    other = parts(1)
    before = [value.clone() for value in other["model"].state_dict().values()]
    with pytest.raises(ValueError, match="checkpoint of another run"):
        load_checkpoint(path, other, "someone else's")
    assert all(torch.equal(a, b) for a, b in zip(before, other["model"].state_dict().values(), strict=True))


def test_a_checkpoint_of_another_format_is_refused(saved, monkeypatch):
    path, *_ = saved
    monkeypatch.setattr(checkpoint, "FORMAT", "checkpoint 2")
    with pytest.raises(ValueError, match="checkpoint of another run or version: delete that file and train again"):
        load_checkpoint(path, parts(1), "run")


def test_nobody_waits_for_a_pipe(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "c.safetensors")
    monkeypatch.setattr(checkpoint, "safe_open", lambda *args, **kwargs: pytest.fail("it would wait for ever"))
    with pytest.raises(ValueError, match="damaged or was edited"):
        load_checkpoint(tmp_path / "c.safetensors", parts(1), "run")


def test_what_an_optimizer_keeps_lies_in_memory_as_its_parameter_does(saved):
    path, own, _ = saved
    other = parts(1)
    load_checkpoint(path, other, "run")
    weight, before = next(other["model"].parameters()), next(own["model"].parameters())
    assert weight.is_contiguous(memory_format=torch.channels_last)
    for name in ("exp_avg", "exp_avg_sq"):
        found = other["optimizer"].state[weight][name]
        assert found.stride() == weight.stride() and torch.equal(found, own["optimizer"].state[before][name])
