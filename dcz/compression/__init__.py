"""From models to `.dcz` files.

compress            one model into one file          many            several models, one after another
target_size         the most quality in so many bytes
records             a model's tensors -> records     jobs            which records there will be, and how
executors           threads, processes, a cluster    task            what a worker does with one tensor
journal             records of a file in the making  dask_cluster    the only home of Dask
foldable            which normalizations a plan lets be folded
"""
