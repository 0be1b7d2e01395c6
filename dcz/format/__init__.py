"""The container on disk, byte for byte as in spec/FORMAT.md: values <-> bytes, without any algorithm.

container   header, directory, graph, records        record   one record        fields   integers, strings, floats
"""
