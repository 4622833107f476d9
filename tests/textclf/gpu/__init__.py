"""The GPU's code: on a GPU where there is one, else on the CPU with the kernels in Triton's interpreter."""

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
