"""Exported models: any ONNX file whose outputs are boxes, scores, labels and masks."""
