"""Where artifacts lie: one contract (`base.Backend`), three implementations."""
