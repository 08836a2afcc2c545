"""`POST /predict` with one 28x28 image as JSON, against an empty Flask route that parses the same body.

Both behind gunicorn with two workers of four threads, 16 clients on kept connections, in turns. The route is measured
twice: on all of the API's own settings, its worker class, access log and garbage collector included; and on gunicorn's
own thread worker, as a Flask user has it. Ours reads, checks and bounds the image, runs a convolutional network of
35,000 weights, and writes the answer, in the main loop of a server process, as the network was measured to be quick when it
was loaded; the route does `request.get_json()` and answers `{}`, in a thread, as any Flask view, whose time nobody knows. Requests per second say
what a client sees; CPU time per answer says the same with less noise on a machine that has other work.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import asdict

from bench_run import BenchRun
from image_model import MODEL, write_registry
from rows import Row
from servers import CLIENTS, Load, api, empty_api, measure_load

ROUNDS, SECONDS = 7, 3.0
LEAST = 0.95
OPPONENTS = {
    "same": "an empty Flask route that parses it, with our settings",
    "plain": "an empty Flask route that parses it, gunicorn's own worker",
}


def measure(run: BenchRun) -> list[Row]:
    """Requests per second (median of the rounds) against both, and CPU time per answer."""
    folder = run.space("predict")
    models = write_registry(folder / "models")
    taken: dict[str, list[Load]] = {"predict": [], **{name: [] for name in OPPONENTS}}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(empty_api(folder / name, name)) for name in OPPONENTS}
        servers["predict"] = stack.enter_context(api(folder / "predict", model=MODEL, registry=models.url))
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            for name, loads in taken.items():
                loads.append(measure_load(servers[name], SECONDS, models.body))
    raw = {name: [asdict(each) for each in loads] for name, loads in taken.items()}
    title = f"POST /predict, 28x28 as JSON, {CLIENTS} clients"
    rates = {name: statistics.median(each.per_second for each in loads) for name, loads in taken.items()}
    costs = {name: statistics.median(each.cpu_us for each in loads) for name, loads in taken.items()}
    return [
        *(
            Row(title, rates["predict"], "requests/s", text, rates[name], LEAST, "more", raw)
            for name, text in OPPONENTS.items()
        ),
        Row(f"{title}: CPU per answer", costs["predict"], "µs", OPPONENTS["same"], costs["same"], None, "less", raw),
    ]
