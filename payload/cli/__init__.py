"""The command line: parser, commands, and the texts they print."""
