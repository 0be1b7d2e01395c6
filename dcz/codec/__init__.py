"""Numbers <-> the encodings of one tensor: what the paper is about.

encode        prune, share, index, Huffman: the smallest encoding of a tensor      stages/   one module a stage
candidates    the encodings that are worth writing                                 decode    all of it undone
quality       how error is spread over the tensors of a model, without data
"""
