//! Hostile components by number: a seed gives a component, always the same one, and a trial loads it and
//! has it judge through the real host. Whatever comes of it is right, but for a fault of the host.
#![allow(dead_code, reason = "each test binary uses some of it")]

mod abi;
mod chance;
mod misfit;
mod trial;

pub(crate) use trial::Trial;

use chance::Chance;

/// The component of a seed.
pub(crate) fn component(seed: u64) -> Vec<u8> {
    misfit::component(&mut Chance::new(seed))
}
