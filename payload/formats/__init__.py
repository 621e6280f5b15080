"""Bytes and text that others defined: read and written here, in what is given. No processes."""
