//! Plays a script to one connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::case::{Action, End, Peer, Step};
use super::frames;
use super::payloads::payload;
use super::stream::{Stream, read_request, read_request2};

/// Requests that are remembered of a peer.
const MOST_REMEMBERED: usize = 4_096;

/// The requests that a peer got, as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, request: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_REMEMBERED {
            all.push(request.to_owned());
        }
    }
}

/// Makes every body that a peer sends.
pub(crate) fn make_payloads(peer: &Peer) {
    fn make(steps: &[Step]) {
        for step in steps {
            if let Step::Other(action) = step {
                if let Some(name) = &action.payload {
                    payload(name);
                }
                make(&action.of);
                make(&action.forever);
            }
        }
    }
    make(&peer.script);
    peer.paths.values().for_each(|steps| make(steps));
}

/// What is played on one port.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) peer: Peer,
    /// What the words in braces stand for.
    pub(crate) words: Vec<(String, String)>,
    pub(crate) seen: Seen,
}

/// A step, ready to be done.
enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    Read,
    Forever(Vec<Act>),
    End(End),
}

impl Part {
    /// Plays it to connection number `n`, to its end.
    pub(crate) async fn play(&self, mut stream: Stream, n: usize) {
        let mut steps = &self.peer.script;
        if !self.peer.greets {
            // Whoever leaves before the end of a request gets nothing.
            let Some(request) = self.read(&mut stream, true).await else { return };
            let path = request.split(' ').nth(1).unwrap_or_default();
            steps = self.peer.paths.get(path).unwrap_or(steps);
        }
        let acts = self.prepare(steps, n);
        // A client that leaves in the middle is what most of them are for.
        let end = self.act(&mut stream, &acts).await.unwrap_or_default().unwrap_or_default();
        stream.end(end).await;
    }

    async fn read(&self, stream: &mut Stream, first: bool) -> Option<String> {
        let request =
            if self.peer.http2 { read_request2(stream, first).await? } else { read_request(stream).await? };
        self.seen.add(&request);
        Some(request)
    }

    /// Does the steps; the end, where one of them is one.
    async fn act(&self, stream: &mut Stream, acts: &[Act]) -> io::Result<Option<End>> {
        for act in acts {
            match act {
                Act::Send(bytes) => self.send(stream, bytes).await?,
                Act::Pause(pause) => tokio::time::sleep(*pause).await,
                Act::Read => {
                    if self.read(stream, false).await.is_none() {
                        return Ok(None);
                    }
                }
                Act::Forever(acts) => loop {
                    if let Some(end) = Box::pin(self.act(stream, acts)).await? {
                        return Ok(Some(end));
                    }
                },
                Act::End(end) => return Ok(Some(*end)),
            }
        }
        Ok(None)
    }

    /// Sends `bytes`; what the client sends meanwhile is read and dropped where it would hold us up.
    async fn send(&self, stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| {
                let sent = Pin::new(&mut *stream).poll_write(cx, bytes);
                if sent.is_pending() && !self.peer.deaf {
                    drop_what_came(stream, cx)?;
                }
                sent
            });
            bytes = &bytes[sent.await?..];
        }
        stream.flush().await
    }

    fn prepare(&self, steps: &[Step], n: usize) -> Vec<Act> {
        let mut acts = Vec::new();
        for step in steps {
            match step {
                Step::Text(_) => acts.push(Act::Send(self.bytes(step, n))),
                Step::Other(action) => match action.as_ref() {
                    Action { pause_ms: Some(pause), .. } => {
                        acts.push(Act::Pause(Duration::from_millis(*pause)));
                    }
                    Action { end: Some(end), .. } => acts.push(Act::End(*end)),
                    Action { read: true, .. } => acts.push(Act::Read),
                    Action { forever, .. } if !forever.is_empty() => {
                        acts.push(Act::Forever(self.prepare(forever, n)));
                    }
                    _ => acts.push(Act::Send(self.bytes(step, n))),
                },
            }
        }
        acts
    }

    /// What a step sends.
    fn bytes(&self, step: &Step, n: usize) -> Vec<u8> {
        let all = |steps: &[Step]| -> Vec<u8> { steps.iter().flat_map(|step| self.bytes(step, n)).collect() };
        let action = match step {
            Step::Text(text) => return self.text(text, n),
            Step::Other(action) => action,
        };
        match action.as_ref() {
            Action { coded: Some(coding), payload: Some(name), .. } => {
                let body = payload(name);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n"
                );
                [head.as_bytes(), &body].concat()
            }
            Action { payload: Some(name), .. } => payload(name).to_vec(),
            Action { frame: Some(frame), .. } => frames::frame(frame, &all(&frame.content)),
            Action { times, of, .. } if *times > 0 => all(of).repeat(*times),
            other => panic!("a step that is none: {other:?}"),
        }
    }

    fn text(&self, text: &str, n: usize) -> Vec<u8> {
        if !text.contains('{') {
            return text.chars().map(|c| c as u8).collect();
        }
        let mut text = text.replace("{n}", &n.to_string());
        for (word, meaning) in &self.words {
            text = text.replace(word, meaning);
        }
        text.chars().map(|c| c as u8).collect()
    }
}

/// Reads what there is.
fn drop_what_came(stream: &mut Stream, cx: &mut Context<'_>) -> io::Result<()> {
    let mut dropped = [0; 4_096];
    loop {
        let mut buffer = ReadBuf::new(&mut dropped);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(Ok(())) | Poll::Pending => return Ok(()),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
}
