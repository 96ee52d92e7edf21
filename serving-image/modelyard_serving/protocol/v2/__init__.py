"""The Open Inference Protocol, version 2, over REST.

Specification: https://github.com/kserve/open-inference-protocol, with the binary tensor data extension
(https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol/binary-tensor-data-extension).

    dialect → rest (bytes ↔ messages) → raw, elements → datatypes
            → quick (JSON → table, the short way)
            → inference → inputs, enforcement (tensors → what the signature asks for)
                        → asked, outputs (predictions → tensors)
            → compared (answers → rows)
    metadata: what the server says of itself
"""
