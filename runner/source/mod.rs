//! Stage 1: where targets come from.
