"""The life of every track, told when it begins, goes on and ends."""
