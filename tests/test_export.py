"""ONNX gives what torch gives; the folder that is handed on is the head."""

import json
import shutil

import numpy as np
import pytest
import torch
from film_files import phantoms

from cmdml import export
from cmdml.export import copy_head, export_onnx
from cmdml.files import SEAL
from cmdml.heads import FILES, HEADS, load_head

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def parity(head, file, films):
    """Largest differences of scores, places and distances."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    got = session.run(None, {"images": films[:, None].astype(np.float32) / np.float32(255)})
    with torch.no_grad():
        images = torch.from_numpy(films)[:, None]
        scores, visual = head.network(images)
        distance = head.familiar.distance(head.network.features(images)) / head.familiar.threshold
    differences = [float(np.abs(a - b.numpy()).max()) for a, b in zip(got, (scores, visual, distance), strict=True)]
    return session, differences


def test_onnxruntime_agrees_with_torch_on_two_hundred_films(tmp_path):
    head, films = load_head(HEADS / "phantom"), phantoms(200)
    file = export_onnx(head, tmp_path / "phantom.onnx")
    session, (scores, visual, distance) = parity(head, file, films)
    assert max(scores, visual, distance) < 1e-4
    assert session.run(None, {"images": np.zeros((3, 1, 64, 64), np.float32)})[0].shape == (3, 14)  # any batch
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["findings"]) == list(head.findings.keys) and about["notice"] == "not a medical device"
    assert json.loads(about["unseen"]) == list(head.findings.unseen) and about["size"] == "64"
    assert about["run"] == head.card["name"]
    assert [path.name for path in tmp_path.iterdir()] == ["phantom.onnx"]  # no weights beside it
    with pytest.raises(ValueError, match="ends in .onnx"):
        export_onnx(head, tmp_path / "phantom.txt")


@pytest.mark.skipif(not __import__("importlib.util").util.find_spec("timm"), reason="needs the extra study: timm")
def test_the_backbone_goes_into_the_file_too(tmp_path):
    from PIL import Image

    head = load_head(HEADS / "nih-mini")
    films = np.stack([np.asarray(Image.open(p)) for p in sorted((HEADS.parent / "films").glob("*.png"))[:8]])
    file = export_onnx(head, tmp_path / "real.onnx")
    assert file.stat().st_size < 13e6
    _, differences = parity(head, file, films)
    assert max(differences) < 1e-4


def test_the_folder_is_copied_as_it_was_sealed(tmp_path):
    head = load_head(HEADS / "phantom")
    out = copy_head(head, tmp_path / "mine")
    assert sorted(path.name for path in out.iterdir()) == sorted((*FILES, "seal.json"))
    assert all((out / name).read_bytes() == (head.folder / name).read_bytes() for name in FILES)
    assert load_head(copy_head(head, out)).card == head.card
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="holds something else"):
        copy_head(head, tmp_path / "other")


def test_a_head_that_changed_since_it_was_opened_is_not_handed_on(tmp_path):
    folder = shutil.copytree(HEADS / "phantom", tmp_path / "mine")
    head = load_head(folder)
    content = bytearray((folder / FILES[0]).read_bytes())
    content[-1] ^= 1
    (folder / FILES[0]).write_bytes(content)
    with pytest.raises(ValueError, match="damaged or was edited"):
        copy_head(head, tmp_path / "copy")


@pytest.mark.parametrize("there", [False, True])
def test_a_copy_that_was_killed_is_no_head(tmp_path, monkeypatch, there):
    head, copyfile, copied = load_head(HEADS / "phantom"), shutil.copyfile, []
    if there:
        copy_head(head, tmp_path / "copy")

    def killed(source, beside):
        copied.append(source.name)
        if len(copied) == 2:
            raise KeyboardInterrupt
        return copyfile(source, beside)

    with monkeypatch.context() as patch:
        patch.setattr(export.shutil, "copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            copy_head(head, tmp_path / "copy")
    assert not (tmp_path / "copy" / SEAL).exists()
    assert load_head(copy_head(head, tmp_path / "copy")).card == head.card
