"""Models in single files: weights of a denoiser as methods publish them, and SD 1.x checkpoints."""
