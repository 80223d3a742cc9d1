"""What exremote costs in round trips, bytes, time and memory, beside pypsrp's own `Client.fetch`.

    python -m benchmarks                    # the table
    python -m benchmarks --json figures.json
    python -m benchmarks --only reg         # tree, reg or random
    python -m benchmarks --quick            # small sizes, no goals that hang on the clock

The lab runs in a process of its own and does the counting; each measurement is a client process of its own,
so that its memory and its CPU time are nobody else's. Goals about time are ratios within one run.
"""
