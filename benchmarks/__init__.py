"""What exremote costs in round trips, bytes, time and memory, beside pypsrp and what Ansible does.

    python -m benchmarks                    # the table
    python -m benchmarks --json figures.json
    python -m benchmarks --only reg         # tree, many, reg, random, decoding, line, upload, fleet or server
    python -m benchmarks --plots docs       # and two pictures
    python -m benchmarks --quick            # small sizes, no goals that hang on the clock

The lab runs in a process of its own and does the counting; each measurement is a client process of its own,
so that its memory and its CPU time are nobody else's. Goals about time are ratios within one run.
"""
