"""A small network over mixed columns: measures of a penguin in, its species out."""

import keras
from keras import layers


def build_model(spec, attempt):
    """A compiled model with one named input per column, so a request reads `{"island": "Biscoe", "sex": "male", …}`.

    `spec.columns` holds what preprocessing needs, measured on the training data: mean and variance of a number,
    the vocabulary of a category. The layers keep it inside the model; a value that was never seen gets a place too.
    """
    inputs, features = {}, []
    for column in spec.columns:
        if column.kind == "numeric":
            inputs[column.input_name] = keras.Input((1,), name=column.input_name)
            scale = layers.Normalization(axis=-1, mean=[column.mean], variance=[column.variance])
            features.append(scale(inputs[column.input_name]))
        else:
            inputs[column.input_name] = keras.Input((1,), name=column.input_name, dtype="string")
            lookup = layers.StringLookup(vocabulary=list(column.vocabulary), output_mode="one_hot")
            features.append(lookup(inputs[column.input_name]))
    hidden = layers.Concatenate()(features)
    hidden = layers.Dense(16 * 2**attempt, activation="relu")(hidden)
    hidden = layers.Dropout(0.1)(hidden)
    species = layers.Dense(len(spec.classes), activation="softmax", name="species")(hidden)

    model = keras.Model(inputs, species)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
