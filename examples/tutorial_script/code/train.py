# USAGE
# python train.py --dataset /path/with/train/and/validation --model model.keras
#
# A training script in the style of many an old tutorial; ../before/train.py is how it was. What made it fit: the paths
# come from the environment when Trainyard calls it, the classes are sorted (as Trainyard sorts them), the scaling became
# a part of the model (the API sends raw pixels), our own layer is in a module that model.py imports, Keras calls
# `acc` `accuracy` now, and the model is saved as model.keras.

import argparse
import os
import random

import keras
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from contrast import Contrast
from keras import layers
from PIL import Image


def list_images(folder):
    for root, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.lower().endswith((".png", ".jpg", ".jpeg")):
                yield os.path.join(root, name)


def load(folder):
    data, labels = [], []
    paths = list(list_images(folder))
    random.shuffle(paths)
    for path in paths:
        data.append(np.array(Image.open(path).convert("L"))[..., np.newaxis])
        labels.append(path.split(os.path.sep)[-2])
    return np.array(data, dtype="float32"), np.array(labels)


# construct the argument parser and parse the arguments
output = os.path.join(os.environ.get("TRAINYARD_OUTPUT", "."), "model.keras")
ap = argparse.ArgumentParser()
ap.add_argument("-d", "--dataset", default=os.environ.get("TRAINYARD_DATA"), help="folder with train/ and validation/")
ap.add_argument("-m", "--model", default=output, help="path to the output model")
ap.add_argument("-s", "--start", default=os.environ.get("TRAINYARD_MODEL"), help="path to a model to continue from")
ap.add_argument("-e", "--epochs", type=int, default=int(os.environ.get("TRAINYARD_EPOCHS", "12")))
ap.add_argument("-b", "--batch-size", type=int, default=int(os.environ.get("TRAINYARD_BATCH_SIZE", "32")))
args = vars(ap.parse_args())

seed = int(os.environ.get("TRAINYARD_SEED", "42"))
random.seed(seed)
keras.utils.set_random_seed(seed)

# grab the images, and turn the labels from text into numbers
print("[INFO] loading images...")
train_x, train_y = load(os.path.join(args["dataset"], "train"))
test_x, test_y = load(os.path.join(args["dataset"], "validation"))
classes = sorted(set(train_y))
train_y = np.array([classes.index(label) for label in train_y])
test_y = np.array([classes.index(label) for label in test_y])

print("[INFO] compiling model...")
if args["start"]:
    model = keras.saving.load_model(args["start"])
else:
    model = keras.Sequential(
        [
            keras.Input(train_x.shape[1:]),
            Contrast(),
            layers.Conv2D(20, (3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, (3, 3), padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(len(classes), activation="softmax"),
        ]
    )
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

print("[INFO] training network...")
history = model.fit(
    train_x, train_y, validation_data=(test_x, test_y), batch_size=args["batch_size"], epochs=args["epochs"], verbose=2
)

print("[INFO] serializing network...")
model.save(args["model"])

print("[INFO] plotting...")
plt.plot(history.history["accuracy"], label="train")
plt.plot(history.history["val_accuracy"], label="validation")
plt.legend()
plt.savefig(os.path.join(os.path.dirname(args["model"]), "plot.png"))
