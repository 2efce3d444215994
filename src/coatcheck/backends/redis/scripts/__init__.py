"""What runs on the server: the scripts of `lua/`, and how they are called."""
