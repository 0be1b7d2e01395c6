"""What models answer, by onnxruntime: the only home of `import onnxruntime`.

runtime     sessions and runs                         samples    arrays of .npz and .npy files
predictor   a model that answers samples              batches    batches of some of the samples
metrics     top classes, divergences, differences     evaluate   errors, loss, and agreement of two models
verify      whether a file is whole, and how far from its original
"""
