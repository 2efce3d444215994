"""What lies on the server: names of keys, records in hashes, manifests."""
