"""The compiler's intermediate representations."""
