"""EfficientNet-Lite0's weights are what they claim, wherever they come from."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from cmdml import efficientnet
from cmdml.efficientnet import by_key_order, efficientnet_lite0, state_sha256

pytestmark = pytest.mark.usefixtures("own_cache")


def test_the_weights_know_what_an_espresso_is(own_cache):
    skimage = pytest.importorskip("skimage.data")
    classes = {"coffee.png": 967, "motorcycle_left.png": 665, "chelsea.png": 285}  # espresso, moped, Egyptian cat
    from PIL import Image

    net = efficientnet_lite0().eval()
    for name, wanted in classes.items():
        with Image.open(Path(skimage.__file__).parent / name) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side)).resize((224, 224))
        pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None]
        with torch.inference_mode():
            assert net(pixels.float() / 127.5 - 1).argmax().item() == wanted, name


def test_converted_weights_are_kept_and_a_damaged_cache_is_made_again(own_cache, monkeypatch):
    whole = efficientnet_lite0()
    kept = own_cache / "efficientnet_lite0.safetensors"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the package was read though the cache is whole"))
    assert state_sha256(efficientnet_lite0().state_dict()) == efficientnet.TENSORS_SHA256
    monkeypatch.undo()
    monkeypatch.setenv("CMDML_CACHE", str(own_cache))
    for spoil in (lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], lambda b: b[:1000]):
        kept.write_bytes(spoil(kept.read_bytes()))
        with pytest.warns(UserWarning, match="damaged and is made again"):
            net = efficientnet_lite0()
        assert state_sha256(net.state_dict()) == efficientnet.TENSORS_SHA256
        efficientnet_lite0()  # whole again: no warning, which would be an error below
    assert torch.equal(net.conv_stem.weight, whole.conv_stem.weight)


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CMDML_CACHE", str(tmp_path / "file"))
    assert state_sha256(efficientnet_lite0().state_dict()) == efficientnet.TENSORS_SHA256


def test_another_file_is_refused_before_it_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.setenv("CMDML_CACHE", str(tmp_path))
    monkeypatch.setattr(efficientnet, "WEIGHTS_SHA256", "0" * 64)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled before it was checked"))
    with pytest.raises(ValueError, match="not the file this study knows"):
        efficientnet_lite0()


def test_key_order_refuses_a_wrong_number_or_shape():
    ours = {"a": torch.zeros(2, 3), "b": torch.zeros(3), "c": torch.zeros(())}
    theirs = {"x": torch.ones(2, 3), "y": torch.ones(3) * 2, "z": torch.tensor(3.0)}
    taken = by_key_order(theirs, ours)
    assert list(taken) == ["a", "b", "c"] and taken["b"][0] == 2 and taken["c"] == 3
    with pytest.raises(ValueError, match="hold 2 tensors and the network 3"):
        by_key_order({"x": theirs["x"], "y": theirs["y"]}, ours)
    with pytest.raises(ValueError, match=r"x for a is \(3, 2\), not \(2, 3\)"):
        by_key_order(theirs | {"x": torch.ones(3, 2)}, ours)


def test_the_hash_covers_names_shapes_and_values():
    state = {"a": torch.arange(4.0), "b": torch.zeros(2)}
    others = [{"a": torch.arange(4.0)}, state | {"b": torch.ones(2)}, state | {"a": torch.arange(4.0).view(2, 2)}]
    others.append({"c": state["a"], "b": state["b"]})
    assert len({state_sha256(other) for other in (state, *others)}) == 5
    assert state_sha256(dict(reversed(state.items()))) == state_sha256(state)


def test_the_module_that_builds_the_architecture_is_named_when_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs timm: pip install 'cmdml\[study\]'"):
        efficientnet_lite0(pretrained=False)


def test_timm_still_builds_the_network_that_the_weights_fit():
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    assert len(net.state_dict()) == 296 and net.conv_head.in_channels == 320
