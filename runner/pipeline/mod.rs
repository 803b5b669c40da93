//! One pipeline: its file, what is built from it, and the data path.
