"""The MNIST rows of Deep Compression, reproduced with real files: `make reproduce`, or one step of it alone.

data          the digits: where they are, whether they are the right ones, which of them validate
augment       shifted, turned, scaled, sheared and bent copies of the training digits
networks      LeNet-300-100 and LeNet-5 as small ONNX graphs
recipes       every number that was chosen
rows          a dense network, a .dcz file, and what its decoded answers are worth
experiments   what the figures show, measured        figures, tables   drawn and written
reproduce     the command
"""
