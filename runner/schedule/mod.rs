//! Stage 2: when each target is due. Pure: time goes in, due targets come out.
