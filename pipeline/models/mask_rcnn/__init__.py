"""torchvision's Mask R-CNNs, run by an engine of our own."""
