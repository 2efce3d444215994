"""How what is there is found, listed and counted: by indexes, on the server, whatever others do meanwhile."""
