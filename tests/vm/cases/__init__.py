"""The cases: one module per kind of server, and all of them in `matrix.CASES`."""
