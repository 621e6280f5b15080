"""Bytes on the wire: frames, TLS from the site key, and the channel made of both."""
