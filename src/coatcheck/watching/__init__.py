"""What listens to the events of stores: logs, OpenTelemetry, Prometheus. Each is for `on_event=`.

    RedisArtifactStore(url, on_event=OpenTelemetryEvents())

Several at once are a function that calls each. `OpenTelemetryEvents` and `PrometheusEvents` need the extras of their
modules' names.
"""
