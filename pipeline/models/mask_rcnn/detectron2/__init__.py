"""Region-based networks as detectron2 means them: input, anchors, RoIAlign, names in its files."""
