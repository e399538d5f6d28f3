"""What model families share: weights files, labels, devices, memory."""
