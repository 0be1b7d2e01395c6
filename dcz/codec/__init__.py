"""Tensors <-> their encodings: the algorithms of Deep Compression (Han et al., 2016).

encode        prune, share, index, Huffman: the smallest record of a tensor        stages/   the paper's, and helpers
candidates    the encodings to write, of which the smallest is taken               decode    the inverse of encode
sharing       codes and the codebook of a tensor     scaled   those of rows of different size
cancellation  roundings whose errors cancel where a layer adds them up
precision     how near an encoding comes, and what the user should know of that
quality       how error is spread over the tensors of a model, without data
"""
