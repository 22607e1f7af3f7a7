"""The backend: layouts, levels, parameters, and the flat program for an engine."""
