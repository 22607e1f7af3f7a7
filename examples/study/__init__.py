"""What the examples of every study share: from labelled windows to encrypted answers and figures.

A study's own package knows its files, signals and features; everything from `Windows` on, that is
leaving subjects out, normalising, training, asking under encryption and reporting, is here.
"""
