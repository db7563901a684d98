"""The command line of gpgen: parse, call the library, show. No logic of its own."""
