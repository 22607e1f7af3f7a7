"""Tensor passes: merge linear maps, replace activations. Each is a pure graph -> graph."""
