"""SOLOv2: a kernel a grid cell, run over features of the whole picture; see `family`."""
