//! Connections that wait for the next request, for pipelines that say `connection = "reuse"`.
//!
//! Nothing runs while a connection waits: whether it still stands is found out when it is taken. It serves one
//! exchange at a time, also with HTTP/2, so that no target's phases depend on another's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;

use super::link::Link;
use super::progress::Wire;
use crate::clock::Instant;
use crate::model::TlsFacts;

/// How long a connection may wait: servers close theirs after one to two minutes.
const MAX_IDLE: Duration = Duration::from_secs(90);
/// How old a connection may become: a certificate or a name may have changed since.
const MAX_LIFE: Duration = Duration::from_hours(1);
/// Connections that wait for one origin.
const MAX_OF_ONE_ORIGIN: usize = 64;

/// What a connection is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    /// Which pipeline's request: its own way to resolve, to connect and to verify.
    pub(super) request: u64,
    pub(super) origin: String,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) shows_certificate: bool,
    /// The one address that is wanted, where it was chosen.
    pub(super) address: Option<IpAddr>,
}

impl PoolKey {
    /// The origin of a URL, as a key has it.
    pub(super) fn origin_of(uri: &Uri) -> String {
        format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()))
    }
}

/// A connection between two requests.
pub(super) struct Idle {
    pub(super) link: Link,
    /// Where it tells what is seen.
    pub(super) wire: Wire,
    /// What its handshake showed.
    pub(super) tls: Option<TlsFacts>,
    pub(super) made: Instant,
}

/// The connections that wait.
pub(super) struct Pool {
    most: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    of: HashMap<PoolKey, Vec<(Instant, Idle)>>,
    count: usize,
    /// When the old ones were taken out last.
    swept: Option<Instant>,
}

impl Pool {
    /// A pool of at most `most` connections.
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default() }
    }

    /// Whether no connection waits.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.count == 0 && waiting.of.values().all(Vec::is_empty)
    }

    /// The connection for `key` that was used last and still stands.
    pub(super) async fn take(&self, key: &PoolKey, now: Instant) -> Option<Idle> {
        while let Some((since, mut idle)) = self.pop(key) {
            if is_fresh(since, &idle, now) && idle.link.is_ready().await {
                return Some(idle);
            }
        }
        None
    }

    fn pop(&self, key: &PoolKey) -> Option<(Instant, Idle)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of = waiting.of.get_mut(key)?;
        let found = of.pop();
        // Keys come and go with generations and redirects.
        if of.is_empty() {
            waiting.of.remove(key);
        }
        if found.is_some() {
            waiting.count -= 1;
        }
        found
    }

    /// Keeps a connection whose response is whole, where it still stands and there is room.
    pub(super) async fn put(&self, key: PoolKey, mut idle: Idle, now: Instant) {
        if !is_fresh(now, &idle, now) || !idle.link.is_ready().await {
            return;
        }
        // What is closed is dropped after the lock.
        let mut closed = Vec::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let swept = *waiting.swept.get_or_insert(now);
        if waiting.count >= self.most || now.saturating_duration_since(swept) >= MAX_IDLE {
            closed = waiting.take_old(now);
        }
        if waiting.count < self.most {
            let of = waiting.of.entry(key).or_default();
            if of.len() < MAX_OF_ONE_ORIGIN {
                of.push((now, idle));
                waiting.count += 1;
            } else {
                closed.push(idle);
            }
        }
        drop(waiting);
        drop(closed);
    }
}

impl Waiting {
    /// Takes out whatever is too old to be used.
    fn take_old(&mut self, now: Instant) -> Vec<Idle> {
        let mut old = Vec::new();
        self.of.retain(|_, of| {
            old.extend(of.extract_if(.., |(since, idle)| !is_fresh(*since, idle, now)).map(|(_, idle)| idle));
            !of.is_empty()
        });
        self.count -= old.len();
        self.swept = Some(now);
        old
    }
}

fn is_fresh(since: Instant, idle: &Idle, now: Instant) -> bool {
    now.saturating_duration_since(since) < MAX_IDLE && now.saturating_duration_since(idle.made) < MAX_LIFE
}
