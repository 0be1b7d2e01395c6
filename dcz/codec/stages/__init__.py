"""One module a stage of the paper: prune, share, index, huffman; and what these stand on."""
