"""What does not fit together: found key by key, and repaired as far as that can be done."""
