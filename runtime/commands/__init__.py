"""The `eer` commands, one file for each role."""
