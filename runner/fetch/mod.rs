//! Stage 3: one target becomes one exchange.
