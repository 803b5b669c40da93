//! A name server for IPv4 addresses: `there.test` is on the loopback, `both.test` there twice (127.0.0.2, then
//! 127.0.0.1), `broken.test` is beyond it (SERVFAIL), and nothing else exists.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Running on a free port of 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    answering: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Only how soon it ends after its test.
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, end) = (Arc::clone(&asked), Arc::clone(&stopped));
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while !end.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let (name, answer) = answer(&buffer[..length]);
                log.lock().unwrap().push(name);
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { address, asked, stopped, answering: Some(answering) }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked for a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(answering) = self.answering.take() {
            let _ = answering.join();
        }
    }
}

/// The name in a question (RFC 1035 section 4), and the answer to it.
fn answer(question: &[u8]) -> (String, Vec<u8>) {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    let name = labels.join(".");
    let (code, count) = match name.as_str() {
        "there.test" => (0, 1),
        "both.test" => (0, 2),
        "broken.test" => (2, 0),
        _ => (3, 0),
    };
    let mut answer = [&question[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    answer.extend_from_slice(&question[12..at + 5]);
    for last in (1..=count).rev() {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last]);
    }
    (name, answer)
}
