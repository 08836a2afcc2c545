"""A small convolutional network that reads digits. Trainyard calls `build_model`; everything else is yours."""

import keras
from keras import layers


def build_model(spec, attempt):
    """A compiled model for the dataset that `spec` describes; with each attempt it grows.

    Training starts with attempt 0, then tries 1, 2, … until the gate's threshold holds on the validation split.
    Preprocessing and augmentation are layers: what is served is complete, and gets the raw pixels, 0 to 255.
    """
    width = 16 * 2**attempt
    model = keras.Sequential(
        [
            keras.Input(spec.input_shape, name=spec.inputs[0].name),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),  # while training only
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.Conv2D(2 * width, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Conv2D(4 * width, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(len(spec.classes), activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.002),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
