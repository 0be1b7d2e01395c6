"""One module a stage of the paper: prune, share, index, huffman; beside them the modules that these use."""
