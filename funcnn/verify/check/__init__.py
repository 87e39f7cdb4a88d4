"""The check itself: of a function, of a model, of the library's ops, inside a test."""
