"""What coatcheck costs, next to redis-py itself and to other stores: `python -m benchmarks`.

Candidates alternate within one run and are compared round by round, because on a shared machine only ratios that were
measured side by side mean anything. Nothing here asserts a time.

    measure     alternation, ratios, CPU time          server, memory: what a server and a client spend
    candidates  what is compared: bare (redis-py), ours, awaited, peers
    bench       effort, room on this machine, the list of measurements; trials: kinds that they share
    rows, large, batches, cluster, budget, concurrency, growth     the measurements
    results     one JSON file, from which page (text, Markdown) and plots are made
    profile     where the time of a small call goes, by sampling
    neighbours  what a very large content does to others
"""
