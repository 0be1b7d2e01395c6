"""Models bigger than memory: `make large-model`, and how time and memory grow: `make scaling`.

models        weights drawn block by block into external data         measure      a task in a process under a limit
large_model   6 GB compressed, checked, decoded within 3 GB           scaling      1 M to 1 B weights
plot          a figure of two axes, as SVG                            page         RESULTS.md
"""
