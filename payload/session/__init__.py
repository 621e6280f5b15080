"""The order of things: which state follows which, and what each role does in it."""
