//! Checks on the real binary: what the bundled ones say, and that a hostile one harms nobody.
