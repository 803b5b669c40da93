//! What must hold of the fetcher whatever the other side sends: one function a target, each of which takes any bytes
//! and panics where a promise is broken.
//!
//! `tests/fuzz/run` searches for such bytes, guided by coverage; `cargo test` runs the seeds alone. An input begins
//! with choices, one byte each, of which an ASCII `0` takes the first; the rest is what is sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a target fails by a panic"
)]

mod address;
mod answer;
mod certificate;
mod coding;
mod http1;
mod http2;
mod redirects;
mod script;

use std::cell::OnceCell;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

pub use self::address::address;
pub use self::certificate::certificate;
pub use self::coding::coding;
pub use self::http1::http1;
pub use self::http2::http2;
pub use self::redirects::redirects;
use super::{Fetcher, FetcherConfig, Request, RequestSpec, Shared};
use crate::model::{ErrorKind, Failure, steers_a_terminal};

/// A target: its name, and what holds for any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by its name.
pub const TARGETS: [Target; 6] = [
    ("address", address),
    ("certificate", certificate),
    ("coding", coding),
    ("http1", http1),
    ("http2", http2),
    ("redirects", redirects),
];

thread_local! {
    /// With a paused clock: where nothing is left to do but wait, the deadline comes at once.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    static SHARED: OnceCell<Arc<Shared>> = const { OnceCell::new() };
}

fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What all attempts share; no name is ever asked for, and nothing is connected to.
fn shared() -> Arc<Shared> {
    let config =
        FetcherConfig { dns_servers: vec!["127.0.0.1:53".parse().unwrap()], ..FetcherConfig::default() };
    SHARED.with(|shared| {
        shared.get_or_init(|| block_on(async { Fetcher::new(&config).unwrap().shared })).clone()
    })
}

fn request(spec: RequestSpec) -> Request {
    Request::build(spec).unwrap()
}

/// Choices from the begin of an input.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The first `count` bytes of `data` and what follows them.
    fn split(data: &'a [u8], count: usize) -> Option<(Self, &'a [u8])> {
        data.split_at_checked(count).map(|(choices, rest)| (Self(choices), rest))
    }

    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(b'0')
    }

    /// One of several: the first one for an ASCII `0`.
    fn of<T: Copy>(&mut self, several: &[T]) -> T {
        several[usize::from(self.byte().wrapping_sub(b'0')) % several.len()]
    }
}

/// What holds of every failure that another side can cause.
#[track_caller]
fn assert_theirs(failure: &Failure, theirs: &[ErrorKind]) {
    assert!(theirs.contains(&failure.kind), "no server can cause this: {failure:?}");
    assert_line(&failure.message, 1_024);
    assert!(!failure.message.is_empty());
}

/// What holds of every text for people: it is bounded, one line, and steers no terminal.
#[track_caller]
fn assert_line(text: &str, most: usize) {
    assert!(text.len() <= most, "{} bytes: {text:?}", text.len());
    assert!(!text.chars().any(steers_a_terminal), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_holds_for_its_seeds() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
        for (name, target) in TARGETS {
            let mut count = 0;
            for seed in fs::read_dir(seeds.join(name)).unwrap() {
                let bytes = fs::read(seed.unwrap().path()).unwrap();
                target(&bytes);
                // Cut anywhere, it is an input as well.
                (0..bytes.len()).step_by(bytes.len() / 16 + 1).for_each(|end| target(&bytes[..end]));
                count += 1;
            }
            assert!(count > 0, "{name} has no seed");
        }
    }
}
