"""What the tests of predict, explain, export and the command line share: films of every kind, and a head."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from cmdml.sources.phantom import draw, sample_scene, sample_table


def phantoms(n: int, size: int = 64, seed: int = 77) -> np.ndarray:
    """(n, size, size) uint8."""
    return draw(sample_scene(sample_table(n, seed), seed), size, seed)


def dicom(path, pixels: np.ndarray, *, bits=12, kind="MONOCHROME2", window=None, rescale=None, **tags):
    """Write one frame of unsigned grey values as a DICOM file that a hospital could send."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, kind, 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, bits, bits - 1
    film.PixelData = pixels.astype("<u2").tobytes()
    if window:
        film.WindowCenter, film.WindowWidth = window
    if rescale:
        film.RescaleSlope, film.RescaleIntercept = rescale
    for name, value in tags.items():
        setattr(film, name, value)
    film.save_as(path, enforce_file_format=True)
    return path


def jpeg(pixels: np.ndarray, mode="L", **options) -> bytes:
    """Encoded at high quality."""
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, "JPEG", quality=98, **options)
    return out.getvalue()



