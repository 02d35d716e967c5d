"""Times of the library beside its peers, as ratios measured in one run; see `python -m benchmarks --help`.

Not part of the installed package: timings are looked at, never tested. Each module holds the lines of one subject; what
a line needs from the `bench` extra is imported when the line is measured.
"""
