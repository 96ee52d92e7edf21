"""Turns models into ONNX and proves that their answers are the original's. Runs before serving, never while serving."""
