"""Many problems of one matrix in step: what one of them does with vectors, all do with blocks."""
