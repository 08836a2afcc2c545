"""The gRPC server of a model in this process, and a client with the messages as the protocol has them."""

from contextlib import contextmanager

import grpc
import pytest
from echo_model import Held

from serving.calls import Limits
from serving.grpc_port import inference_pb2 as pb
from serving.grpc_port.answering import Answering
from serving.grpc_port.methods import Methods
from serving.grpc_port.reading import Reading
from serving.grpc_port.server import GrpcServer
from serving.grpc_port.threads import Threads
from serving.metrics.counters import CounterTable
from serving.metrics.routes import GRPC_SERVICE
from serving.predictors import Predictors

HOST = "127.0.0.1"


class GrpcClient:
    """Asks at `target`; what is refused raises grpc.RpcError."""

    def __init__(self, target, credentials=None):
        self.channel = grpc.secure_channel(target, credentials) if credentials else grpc.insecure_channel(target)

    def __call__(self, method, metadata=(), timeout=20, **fields):
        return self.full(method, metadata, timeout, **fields)[0]

    def full(self, method, metadata=(), timeout=20, **fields):
        """The answer, and the metadata behind it."""
        request = getattr(pb, f"{method}Request")(**fields)
        answer, call = self.raw(
            f"/{GRPC_SERVICE}/{method}", request.SerializeToString(), metadata=metadata, timeout=timeout
        )
        return getattr(pb, f"{method}Response").FromString(answer), dict(call.trailing_metadata())

    def raw(self, path, body, **more):
        return self.channel.unary_unary(path).with_call(body, **{"timeout": 20, **more})

    def close(self):
        self.channel.close()


class GrpcHere:
    """A server in this process: `call` is a client of it, `lines` what the access log has, as keyword arguments."""

    def __init__(self, model, limits=None, credentials=None, relay=None, seconds=20.0, **more):
        limits = limits or Limits(1 << 16, 10)
        self.table, self.lines, self.threads = CounterTable(), [], 2
        self.predictors = Predictors(Held(model), "m")
        self.answering = Answering(
            limits,
            self.table.counters(0),
            Reading(limits.body, seconds, **more.pop("reading", {})),
            Threads(lambda: self.threads),
            write_access=self._write,
            **more,
        )
        methods = Methods(self.predictors, limits, "1").all()
        self.server = GrpcServer(self.answering, methods, limits.body, 5, relay)
        self.server.start(f"{HOST}:0", credentials, shared=False)
        self.target = f"{HOST}:{self.server.port}"

    def _write(self, environ, status, sent, seconds):
        self.lines.append({"environ": environ, "status": status, "sent": sent, "seconds": seconds})

    def requests(self):
        """How many were counted, by route and status."""
        return {
            (route.rpartition("/")[2], status): n for (route, status, _), n in self.table.totals().requests().items()
        }


@contextmanager
def grpc_here(model, **more):
    here = GrpcHere(model, **more)
    here.call = GrpcClient(here.target)
    try:
        yield here
    finally:
        here.call.close()
        here.server.close()


def refused(call, *args, **fields):
    """The code and the text of a request that is."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **fields)
    return caught.value.code(), caught.value.details()
