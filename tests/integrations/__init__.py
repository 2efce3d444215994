"""coatcheck plugged in: a folder for each ecosystem, with what it needs and the ecosystem's own tests run over a store.

`make test` runs those whose packages are in the development environment; `make integrations` makes an environment for
each and runs all (`ONLY="proxystore celery"`: these).
"""
