"""Cameras and streams: the newest frame counts; and recordings that are read over the network."""
