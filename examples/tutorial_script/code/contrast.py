"""The layer of our own. It was in train.py; the file of a model can only name what a module registers."""

import keras


@keras.saving.register_keras_serializable(package="Digits")
class Contrast(keras.layers.Layer):
    """Pixels 0 to 255 become -1 to 1."""

    def call(self, pixels):
        return pixels / 127.5 - 1.0
