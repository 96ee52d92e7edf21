"""What runs in the operator's Job before a version is served: its environment, its ONNX form, and the evidence."""
