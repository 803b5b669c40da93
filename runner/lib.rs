//! Probity.
