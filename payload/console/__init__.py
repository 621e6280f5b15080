"""What a person sees: tty1, the serial line, the report. Fed by events, never asked by the work."""
