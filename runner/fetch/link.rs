//! A connection that speaks HTTP/1 or HTTP/2, driven by whoever waits for it, without a task of its own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::carrier::Carrier;
use super::progress::Wire;
use super::request::HeadLimits;
use super::wire::Watched;

/// hyper's buffer beyond the longest head.
const BUFFER_BEYOND_HEAD: usize = 64 * 1024;
/// How far a server may run ahead of us with a body by HTTP/2: what is held for a body that waits for memory.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The window of a whole connection. There is one body at a time, which its own window bounds; h2 makes its
/// tolerance for small frames of this one (half of it), and a server may send byte by byte.
const CONNECTION_WINDOW: u32 = i32::MAX.unsigned_abs();
/// Frames as every side takes them (RFC 9113 section 6.5.2).
const FRAME_SIZE: u32 = 16 * 1024;

/// What the dialer gives.
pub(super) type Dialed = MaybeHttpsStream<TokioIo<Carrier>>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which HTTP a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection.
pub(super) struct Link {
    sender: Sender,
    driver: Driver,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Link {
    /// Begins to speak on `stream`, telling `wire` what is seen; for `says_goodbye`, see [`Watched::http1`].
    pub(super) async fn open(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        says_goodbye: bool,
        speaks: Speaks,
        limits: HeadLimits,
        wire: Wire,
    ) -> Result<Self, hyper::Error> {
        let spawned = Arc::new(Spawned::default());
        let (sender, connection): (_, Connection) = match speaks {
            Speaks::Http1 => {
                let stream = TokioIo::new(Watched::http1(stream, says_goodbye, wire));
                let (sender, connection) = http1_builder(limits).handshake(stream).await?;
                (Sender::Http1(sender), Box::pin(connection))
            }
            Speaks::Http2 => {
                let stream = TokioIo::new(Watched::http2(stream, says_goodbye, wire, limits.bytes));
                // Boxed: the memory of every probe in flight would have room for it.
                let shaking =
                    Box::pin(http2_builder(limits, Spawner(Arc::downgrade(&spawned))).handshake(stream));
                let (sender, connection) = shaking.await?;
                (Sender::Http2(sender), Box::pin(connection))
            }
        };
        let driver = Driver { connection: Some(connection), spawned, running: Vec::new(), error: None };
        Ok(Self { sender, driver })
    }

    /// Which HTTP it speaks.
    pub(super) fn speaks(&self) -> Speaks {
        match self.sender {
            Sender::Http1(_) => Speaks::Http1,
            Sender::Http2(_) => Speaks::Http2,
        }
    }

    /// Whether it can take another request, as far as is known without waiting.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Self { sender, driver } = self;
        std::future::poll_fn(|cx| {
            // With HTTP/2, what is spawned reads the socket; that it ended is seen in the turn after.
            driver.turn(cx);
            driver.turn(cx);
            let ready = match sender {
                Sender::Http1(sender) => sender.poll_ready(cx),
                Sender::Http2(sender) => sender.poll_ready(cx),
            };
            Poll::Ready(driver.connection.is_some() && matches!(ready, Poll::Ready(Ok(()))))
        })
        .await
    }

    /// Sends a request and reads the response's head.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let Self { sender, driver } = self;
        let response = match sender {
            Sender::Http1(sender) => driver.drive(pin!(sender.send_request(request))).await,
            Sender::Http2(sender) => driver.drive(pin!(sender.send_request(request))).await,
        };
        response.map_err(|error| driver.telling(error))
    }

    /// The next frame of a response's body.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = self.driver.drive(pin!(frame)).await?;
        Some(frame.map_err(|error| self.driver.telling(error)))
    }

    /// Lets the other side know that nothing more will come, as far as that can be said without waiting.
    pub(super) async fn close(self) {
        let Self { sender, mut driver } = self;
        drop(sender);
        // Each turn gets what the one before has set off.
        for _ in 0..2 {
            std::future::poll_fn(|cx| {
                driver.turn(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
}

/// hyper's connection of either version, whatever it goes over.
type Connection = Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>;

/// Runs hyper's connection, and what it would spawn, beside whatever waits for it.
struct Driver {
    connection: Option<Connection>,
    spawned: Arc<Spawned>,
    running: Vec<Task>,
    /// How the connection ended, where it ended badly.
    error: Option<hyper::Error>,
}

impl Driver {
    /// Drives the connection until `waiting` is ready.
    async fn drive<F: Future>(&mut self, mut waiting: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|cx| {
            // What has come already is taken first: reading on while it waits would only pile it up.
            if let Poll::Ready(output) = waiting.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.turn(cx);
            waiting.as_mut().poll(cx)
        })
        .await
    }

    /// Goes on as far as it can.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(result) = connection.as_mut().poll(cx)
        {
            self.error = result.err();
            // With HTTP/1 closes the socket; wakes whoever still waits for the connection.
            self.connection = None;
        }
        let mut index = 0;
        loop {
            // Whoever runs may spawn; who sends always may, and the sender is a part of the connection.
            self.running.append(&mut self.spawned.lock().unwrap_or_else(PoisonError::into_inner));
            let Some(task) = self.running.get_mut(index) else { break };
            if task.as_mut().poll(cx).is_ready() {
                drop(self.running.swap_remove(index));
            } else {
                index += 1;
            }
        }
    }

    /// The error that tells more: what a request or a body sees of a broken connection is often only that it is
    /// gone.
    fn telling(&mut self, seen: hyper::Error) -> hyper::Error {
        self.error.take().unwrap_or(seen)
    }
}

/// What hyper wants to run beside its connection: at most three tasks for a request.
type Spawned = Mutex<Vec<Task>>;

/// Hands what hyper spawns to the driver, which ends it with the connection. The tasks themselves hold it too, hence
/// weak.
#[derive(Clone)]
struct Spawner(Weak<Spawned>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        if let Some(spawned) = self.0.upgrade() {
            spawned.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
        }
    }
}

fn http1_builder(limits: HeadLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let bytes = limits.bytes as usize;
    builder
        .max_headers(limits.headers as usize)
        .max_buf_size(bytes + BUFFER_BEYOND_HEAD)
        .max_header_size(bytes);
    builder
}

fn http2_builder(limits: HeadLimits, spawner: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .max_header_list_size(limits.bytes)
        .max_frame_size(FRAME_SIZE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
