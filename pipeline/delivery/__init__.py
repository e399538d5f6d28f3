"""How results reach their sinks, each of which may fail, be busy or be slow by itself."""
