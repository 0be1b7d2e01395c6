"""Tensors <-> their encodings: the algorithms of Deep Compression (Han et al., 2016).

encode        prune, share, index, Huffman: the smallest record of a tensor        stages/   one module a stage
candidates    the encodings to write, of which the smallest is taken               decode    the inverse of encode
quality       how error is spread over the tensors of a model, without data
"""
