"""A pretrained ResNet-32 pruned, shared and retrained on a part of CIFAR-10: `make reproduce-retrain`."""
