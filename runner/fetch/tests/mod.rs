//! The fetcher against real sockets on the loopback: scripted servers that say, drip or withhold exact bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod dns;
mod support;

mod deadlines;
mod encoded;
mod http2;
mod name_servers;
mod names;
mod oauth;
mod pins;
mod plain;
mod proxies;
mod redirects;
mod reuse;
mod secure;
