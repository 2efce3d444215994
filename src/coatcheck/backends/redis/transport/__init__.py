"""How commands get to the server."""
