"""The protocol's file and what is made of it."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool

from modelyard_serving.protocol.grpc import descriptor, generate


def test_the_generated_file_is_current() -> None:
    assert generate.main(["--check"]) == 0


def test_the_numbers_are_the_protocols() -> None:
    file = descriptor_pb2.FileDescriptorSet.FromString(descriptor.FILE.read_bytes()).file[0]
    messages = {message.name: {each.name: each.number for each in message.field} for message in file.message_type}
    assert [method.name for method in file.service[0].method] == [
        "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    ]  # fmt: skip
    assert f"{file.package}.{file.service[0].name}" == "inference.GRPCInferenceService"
    assert messages["ModelInferRequest"] == {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "inputs": 5, "outputs": 6,
        "raw_input_contents": 7,
    }  # fmt: skip
    assert messages["ModelInferResponse"] == {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "outputs": 5, "raw_output_contents": 6,
    }  # fmt: skip
    assert messages["InferTensorContents"] == {
        "bool_contents": 1, "int_contents": 2, "int64_contents": 3, "uint_contents": 4, "uint64_contents": 5,
        "fp32_contents": 6, "fp64_contents": 7, "bytes_contents": 8,
    }  # fmt: skip
    assert messages["InferParameter"] == {
        "bool_param": 1, "int64_param": 2, "string_param": 3, "double_param": 4, "uint64_param": 5,
    }  # fmt: skip


def test_a_model_may_bring_its_own_client_of_the_protocol() -> None:
    # Messages of the same names in protobuf's own pool: they would not go in if ours were there.
    file = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package="inference", syntax="proto3")
    file.message_type.add(name="ModelInferRequest").field.add(name="other", number=1, type=9, label=1)
    descriptor_pool.Default().Add(file)
    assert "model_name" in descriptor.ModelInferRequest.DESCRIPTOR.fields_by_name
