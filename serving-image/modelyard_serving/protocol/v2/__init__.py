"""The Open Inference Protocol, version 2, over REST.

Specification: https://github.com/kserve/open-inference-protocol, with the binary tensor data extension
(https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension).

    dialect → rest (bytes ↔ messages) → raw, elements → datatypes
            → inputs (tensors → what the signature asks for)
            → outputs (predictions → tensors)
    metadata: what the server says of itself
"""
