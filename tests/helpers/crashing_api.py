"""`python -P -m serving`, with an engine that ends its process on demand: by what the manifest says of the engine's choice.

crashing_api.py          the API in the current folder
crashing_api.py preflight    the throw-away process that tries a release
"""

import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
ON_LOAD, ON_WHITE, ON_SECOND_LOAD = "crashes when it is loaded", "crashes on white", "crashes in a worker"


def engine():
    from serving.engines.litert import LiteRT

    class Crashing(LiteRT):
        def __init__(self, folder, signature, served, threads, *most, **more):
            if served.reason == ON_LOAD or (served.reason == ON_SECOND_LOAD and sys.argv[1:] != ["preflight"]):
                os.kill(os.getpid(), signal.SIGSEGV)
            self._white = served.reason == ON_WHITE
            super().__init__(folder, signature, served, threads, *most, **more)

        def __call__(self, inputs):
            if self._white and (inputs["image"] == 255).all():
                os.kill(os.getpid(), signal.SIGSEGV)
            return super().__call__(inputs)

    return Crashing


def main():
    from serving import preflights
    from serving.engines import base

    sys.modules["crashing_engine"] = type(sys)("crashing_engine")
    sys.modules["crashing_engine"].Crashing = engine()
    base.ENGINES["litert"] = "crashing_engine:Crashing"
    preflights.PROGRAM = (sys.executable, "-P", str(HERE), "preflight")
    if sys.argv[1:] == ["preflight"]:
        from serving.preflight import main as program
    else:
        from serving.__main__ import main as program
    code = program()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
