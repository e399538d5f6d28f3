"""Pictures: a folder, a glob or one of them."""
