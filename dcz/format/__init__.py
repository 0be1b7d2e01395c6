"""The container on disk, byte for byte as in spec/FORMAT.md: values <-> bytes, and no algorithm.

container   header, directory, graph, records        record   one record        fields   integers, strings, floats
"""
