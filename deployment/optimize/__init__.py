"""How weights change: optimizers, learning rates, gradients, averages."""
