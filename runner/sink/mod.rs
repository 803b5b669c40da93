//! Stage 5: results go somewhere.
