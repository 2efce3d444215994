"""Large content on its way to the server and from it."""
