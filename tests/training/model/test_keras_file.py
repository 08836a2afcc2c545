"""The same model gives the same file, whenever and in whatever process it is saved."""

import json
import zipfile

from training.model.keras_file import save_repeatably

WEIGHTS = b"\x89HDF\r\n\x1a\n" + bytes(3 << 20)


class Model:
    """Saved as Keras does it: with the time, and with addresses of shared objects."""

    def __init__(self, address, date):
        self.address, self.date = address, date

    def config(self):
        shared = [{"class_name": "DTypePolicy", "shared_object_id": self.address + i % 2} for i in range(3)]
        return {"class_name": "Sequential", "config": {"layers": shared, "limit": float("inf"), "date_saved": "mine"}}

    def save(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3", "date_saved": self.date}))
            archive.writestr("config.json", json.dumps(self.config()))
            archive.writestr(zipfile.ZipInfo("model.weights.h5", (2026, 11, 30, 0, 0, len(self.date))), WEIGHTS)


def saved(folder, model):
    save_repeatably(model, folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def test_neither_the_time_nor_an_address_changes_the_bytes(tmp_path):
    assert saved(tmp_path, Model(140504643843728, "2026-11-30@00:26:31")) == saved(tmp_path, Model(7, "later"))


def test_another_model_has_other_bytes(tmp_path):
    class Apart(Model):
        def config(self):
            apart = [{"class_name": "DTypePolicy", "shared_object_id": self.address + i} for i in range(3)]
            return {"class_name": "Sequential", "config": {"layers": apart}}

    assert saved(tmp_path, Model(7, "now")) != saved(tmp_path, Apart(7, "now"))


def test_all_else_is_as_keras_has_written_it(tmp_path):
    saved(tmp_path, Model(7, "now"))
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert archive.read("model.weights.h5") == WEIGHTS
        assert json.loads(archive.read("metadata.json"))["keras_version"] == "3"
        config = json.loads(archive.read("config.json"))
    assert config["config"]["limit"] == float("inf")
    assert config["config"]["date_saved"] == "mine"
    assert [each["shared_object_id"] for each in config["config"]["layers"]] == [0, 1, 0]
