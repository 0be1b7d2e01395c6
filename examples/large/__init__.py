"""AlexNet and VGG-16 at the size of Deep Compression's tables 4 and 5, with drawn weights: `make reproduce-large`.

paper       tables 4 and 5
networks    the two networks as ONNX graphs, every layer of its true shape
scheme      what the paper's own storage costs: gaps with fillers, both streams Huffman-coded
sources     weights drawn: independent ones, and ones fitted until that scheme costs what the tables state
rows        a network's weights -> .dcz files -> decoded, run once      tables      written
reproduce   the command
"""
