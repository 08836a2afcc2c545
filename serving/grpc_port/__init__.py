"""The Open Inference Protocol over gRPC, on its own port; needs grpcio and protobuf, but for serving.grpc_port.address."""
