//! Stage 4: one exchange becomes verdicts, in a sandbox.
