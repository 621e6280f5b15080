"""Values: frozen dataclasses that every floor above shares. No I/O, no decisions about machines."""
