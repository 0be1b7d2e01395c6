"""From models to `.dcz` files.

compress            one model into one file          many            several models, one after another
target_size         the most quality in so many bytes
records             a model's tensors -> records     task            what a worker does with one tensor
executors           threads, processes, a cluster    dask_cluster    the only home of Dask
journal             records of a file in the making  fold_batchnorm  which normalizations a plan lets be folded
"""
