"""The Open Inference Protocol, version 2, over gRPC.

    server → servicer → dialect (bytes ↔ calls) → messages (protobuf ↔ the messages of `v2`) → descriptor

`open_inference.proto` is the protocol, `open_inference.binpb` what protoc makes of it, which
`python -m modelyard_serving.protocol.grpc.generate` makes anew.
"""
