"""What the papers' theorems say, as functions of depth, scale, noise and matrix."""
