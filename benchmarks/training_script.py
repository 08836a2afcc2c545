"""What Trainyard is measured against: the script that somebody would write without it. Reads images, trains, measures,
saves. `training_script.py CODE TRAIN VALIDATION HOLDOUT EPOCHS BATCH_SIZE OUTPUT`"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from PIL import Image


def load(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (samples, 8, 8, 1) and their classes."""
    paths = sorted(folder.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])[..., np.newaxis]
    return images, np.array([int(path.parent.name) for path in paths])


code, train, validation, holdout, epochs, batch_size, output = sys.argv[1:]
sys.dont_write_bytecode = True  # into the team's clone, which is committed and pushed as it is
sys.path.insert(0, code)
from model import build_model  # noqa: E402

keras.utils.set_random_seed(1)
spec = SimpleNamespace(
    input_shape=(8, 8, 1), inputs=[SimpleNamespace(name="image")], classes=tuple("0123456789"), train_samples=0
)
model = build_model(spec, 0)
x, y = load(Path(train))
model.fit(
    x,
    y,
    validation_data=load(Path(validation)),
    epochs=int(epochs),
    batch_size=int(batch_size),
    shuffle=True,
    verbose=2,
)
print(model.evaluate(*load(Path(holdout)), verbose=0))
model.save(output)
