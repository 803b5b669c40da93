//! The bundled checks, inside the program: one binary has them all.

/// Declares the bundled checks once: each is a component that `plugins/build` makes.
macro_rules! bundled_checks {
    ($($name:literal),+) => {
        /// Names of the bundled checks.
        pub const BUNDLED_NAMES: &[&str] = &[$($name),+];

        /// The component of a bundled check.
        pub fn bundled(name: &str) -> Option<&'static [u8]> {
            match name {
                $($name => Some(include_bytes!(concat!("../../plugins/prebuilt/", $name, ".wasm"))),)+
                _ => None,
            }
        }
    };
}

bundled_checks!("status", "latency", "header", "body");
