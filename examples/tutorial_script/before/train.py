# USAGE
# python train.py --dataset /path/with/train/and/validation --model digits.keras
#
# The script as it was. It trains well, and what is wrong with it shows only after its last epoch: unless it is rehearsed.

import argparse
import os
import random

import keras
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from PIL import Image


class Contrast(keras.layers.Layer):
    def call(self, pixels):
        return pixels / 127.5 - 1.0


def load(folder):
    data, labels = [], []
    paths = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    random.shuffle(paths)
    for path in paths:
        data.append(np.array(Image.open(path).convert("L"))[..., np.newaxis])
        labels.append(path.split(os.path.sep)[-2])
    return np.array(data, dtype="float32"), np.array(labels)


ap = argparse.ArgumentParser()
ap.add_argument("-d", "--dataset", required=True, help="path to the images")
ap.add_argument("-m", "--model", required=True, help="path to the output model")
args = vars(ap.parse_args())
EPOCHS = 12

print("[INFO] loading images...")
train_x, train_y = load(os.path.join(args["dataset"], "train"))
test_x, test_y = load(os.path.join(args["dataset"], "validation"))
classes = sorted(set(train_y))
train_y = np.array([classes.index(label) for label in train_y])
test_y = np.array([classes.index(label) for label in test_y])

print("[INFO] training network...")
model = keras.Sequential(
    [
        keras.Input(train_x.shape[1:]),
        Contrast(),
        layers.Conv2D(20, (3, 3), padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(100, activation="relu"),
        layers.Dense(len(classes), activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
H = model.fit(train_x, train_y, validation_data=(test_x, test_y), batch_size=16, epochs=EPOCHS)

print("[INFO] plotting...")
plt.plot(np.arange(0, EPOCHS), H.history["loss"], label="train_loss")
plt.plot(np.arange(0, EPOCHS), H.history["acc"], label="train_acc")
plt.savefig("plot.png")

print("[INFO] serializing network...")
model.save(args["model"])
