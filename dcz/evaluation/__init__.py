"""What models answer, by onnxruntime: the only home of `import onnxruntime`.

runtime     sessions and runs                         samples    arrays of .npz and .npy files
predictor   a model that answers samples              batches    batches of chosen samples
evaluate    how good its answers are                  verify     whether a file is whole, and how far from its original
"""
