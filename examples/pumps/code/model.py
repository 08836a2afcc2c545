"""An autoencoder that ends in the error of its reconstruction: what it cannot put together again is unlike what it has learned."""

import keras
from keras import layers, ops


def build_model(spec, attempt):
    """A compiled model, wider with each attempt. It answers with a number per reading; y is 0, so that mae makes their mean small."""
    inputs = [keras.Input((1,), name=column.input_name) for column in spec.columns]
    scaled = [
        layers.Normalization(mean=[column.mean], variance=[column.variance])(each)
        for column, each in zip(spec.columns, inputs, strict=True)
    ]
    reading = layers.Concatenate()(scaled)
    width = 16 * (attempt + 1)
    hidden = layers.Dense(width, activation="tanh")(reading)
    narrow = layers.Dense(2)(hidden)  # load and speed say all the rest, while the pump is well
    again = layers.Dense(len(inputs))(layers.Dense(width, activation="tanh")(narrow))
    score = ops.mean(ops.square(reading - again), axis=-1, keepdims=True)

    model = keras.Model(inputs, score)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mae")
    return model
