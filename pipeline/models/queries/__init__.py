"""Models whose queries answer with a class and a mask each, by the library transformers."""
