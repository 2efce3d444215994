"""What coatcheck costs, next to redis-py itself and to other stores: `python -m benchmarks`.

Candidates alternate within one run and are compared round by round, because on a shared machine only ratios that were
measured side by side mean anything. Nothing here asserts a time.
"""
