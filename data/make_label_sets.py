"""Count the label sets of ChestX-ray14, so that the phantom can draw from them without any NIH pixel.

Usage: ``python data/make_label_sets.py [Data_Entry_2017_v2020.csv]``. Without an argument the table that
torchxrayvision ships is read. Writes two files beside this script, counts only, no row about any one image:

* ``label_sets.csv``   view, findings ("|" between them, data-set order), images
* ``label_sets.json``  source, patients by number of images, patients by sex and age band (first image)

Source of the counts: Wang et al., ChestX-ray8, CVPR 2017, and its 2020 label table (112,120 images, 30,805 patients).
"""

import json
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
ORDER = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax "
    "Consolidation Edema Emphysema Fibrosis Pleural_Thickening Hernia"
).split()


def count(table: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Label-set counts per view, and the patients' follow-up, sex and age counts."""
    in_order = {name: i for i, name in enumerate([*ORDER, "No Finding"])}
    findings = table["Finding Labels"].map(lambda cell: "|".join(sorted(cell.split("|"), key=in_order.__getitem__)))
    sets = pd.DataFrame({"view": table["View Position"], "findings": findings}).value_counts().rename("images")
    sets = sets.reset_index().sort_values(["images", "view", "findings"], ascending=[False, True, True])
    first = table.sort_values("Follow-up #").groupby("Patient ID").first()
    band = first["Patient Age"].clip(0, 94) // 5 * 5
    ages = pd.crosstab(band, first["Patient Gender"])
    follow_up = table.groupby("Patient ID").size().value_counts().sort_index()
    about = {
        "source": "ChestX-ray14 label table Data_Entry_2017_v2020.csv (NIH Clinical Center; Wang et al., CVPR 2017)",
        "images": len(table),
        "patients": len(first),
        "patients_by_images": {str(n): int(c) for n, c in follow_up.items()},
        "patients_by_sex_and_age": {
            sex: {str(int(age)): int(c) for age, c in ages[sex].items() if c} for sex in sorted(ages.columns)
        },
    }
    return sets, about


if __name__ == "__main__":
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
    else:
        import torchxrayvision

        path = Path(torchxrayvision.__file__).parent / "data" / "Data_Entry_2017_v2020.csv.gz"
    sets, about = count(pd.read_csv(path))
    sets.to_csv(HERE / "label_sets.csv", index=False, lineterminator="\n")
    (HERE / "label_sets.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{len(sets)} label sets of {about['images']:,} images")
