"""The error of the readers of maps: what is on the disk is not what they know."""


class UnknownLayoutError(ValueError):
    """This file system is damaged, or has what is not known here. Its text fits behind a colon."""


class ContradictionError(UnknownLayoutError):
    """Its map says something else than the rest of the file system: nobody's map of it is right."""
