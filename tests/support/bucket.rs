//! An object store of the test's own: what three providers need to take a file, and a switch for outages. What it has
//! confirmed stays, whatever happens to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Well,
    /// It closes every connection without a word.
    Gone,
    /// It refuses with this status and code.
    Refuses(u16, &'static str),
    /// It knows no conditions: one gets 501.
    Simple,
    /// It takes files, and closes the connection before it says so.
    Mute,
}

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The method.
    pub(crate) method: String,
    /// The path with its parameters.
    pub(crate) path: String,
    /// Whether it was to write only where nothing is.
    pub(crate) only_new: bool,
}

#[derive(Debug)]
struct Inside {
    objects: Mutex<BTreeMap<String, Object>>,
    parts: Mutex<BTreeMap<(String, usize), Vec<u8>>>,
    asked: Mutex<Vec<Asked>>,
    mood: Mutex<Mood>,
    stopped: AtomicBool,
}

#[derive(Debug, Clone)]
struct Object {
    content: Vec<u8>,
    checksum: Option<String>,
    written: usize,
}

/// The store, on a free port of 127.0.0.1 until it is dropped.
#[derive(Debug)]
pub(crate) struct Bucket {
    address: SocketAddr,
    inside: Arc<Inside>,
    accepting: Option<JoinHandle<()>>,
}

impl Bucket {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside {
            objects: Mutex::default(),
            parts: Mutex::default(),
            asked: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inside);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let inside = Arc::clone(&shared);
                std::thread::spawn(move || converse(&stream, &inside));
            }
        });
        Self { address, inside, accepting: Some(accepting) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it answers from now on.
    pub(crate) fn is(&self, mood: Mood) {
        *self.inside.mood.lock().unwrap() = mood;
    }

    /// Every object: key to content. The key has the bucket's name at its begin.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.inside.objects.lock().unwrap();
        objects.iter().map(|(key, object)| (key.clone(), object.content.clone())).collect()
    }

    /// How many times any object was written at most.
    pub(crate) fn written_at_most(&self) -> usize {
        self.inside.objects.lock().unwrap().values().map(|object| object.written).max().unwrap_or(0)
    }

    /// Puts an object there.
    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        put(&self.inside, key.to_owned(), content.to_vec(), None);
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inside.asked.lock().unwrap().clone()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.inside.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn put(inside: &Inside, key: String, content: Vec<u8>, checksum: Option<String>) {
    let mut objects = inside.objects.lock().unwrap();
    let written = objects.get(&key).map_or(0, |object| object.written) + 1;
    objects.insert(key, Object { content, checksum, written });
}

fn converse(stream: &TcpStream, inside: &Inside) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        let mood = *inside.mood.lock().unwrap();
        let answer = match mood {
            Mood::Gone => return,
            Mood::Refuses(status, code) => refusal(status, code),
            Mood::Well | Mood::Simple | Mood::Mute => answer(inside, mood, &head, body),
        };
        if mood == Mood::Mute || (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.trim_end().is_empty() => break,
            Ok(_) => head.push(line.trim_end().to_owned()),
        }
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn refusal(status: u16, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>hunter2</Message></Error>");
    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn answer(inside: &Inside, mood: Mood, head: &[String], body: Vec<u8>) -> String {
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap_or_default());
    let (key, query) = path.split_once('?').unwrap_or((path, ""));
    let key = decoded(key.trim_start_matches('/'));
    let only_new =
        header(head, "if-none-match").is_some() || header(head, "x-goog-if-generation-match") == Some("0");
    let asked = Asked { method: method.to_owned(), path: path.to_owned(), only_new };
    inside.asked.lock().unwrap().push(asked);
    let checksum = ["x-amz-meta-xxh3", "x-goog-meta-xxh3", "x-ms-meta-xxh3"]
        .iter()
        .find_map(|name| header(head, name))
        .map(str::to_owned);
    let known = inside.objects.lock().unwrap().get(&key).cloned();
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    match method {
        "PUT" if parameter("partNumber=").is_some() => {
            let number = parameter("partNumber=").unwrap().parse().unwrap();
            inside.parts.lock().unwrap().insert((key, number), body);
            done("", "")
        }
        "PUT" if only_new && mood == Mood::Simple => refusal(501, "NotImplemented"),
        "PUT" if only_new && known.is_some() => refusal(412, "PreconditionFailed"),
        "PUT" => {
            put(inside, key, body, checksum);
            done("", "")
        }
        "POST" if query == "uploads" || query == "uploads=" => {
            done("", "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
        }
        "POST" => {
            let mut parts = inside.parts.lock().unwrap();
            let mine: Vec<_> = parts.keys().filter(|(of, _)| *of == key).cloned().collect();
            let content = mine.iter().flat_map(|part| parts.remove(part).unwrap()).collect();
            put(inside, key, content, checksum);
            done("", "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        }
        "HEAD" => match known {
            Some(object) => {
                let checksum = object.checksum.map(|sum| format!("x-amz-meta-xxh3: {sum}\r\n"));
                let length = object.content.len();
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{}etag: \"x\"\r\n\
                     last-modified: Tue, 01 Sep 2026 05:00:00 GMT\r\n\r\n",
                    checksum.unwrap_or_default()
                )
            }
            None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        },
        _ => refusal(405, "MethodNotAllowed"),
    }
}

/// Without percent signs: `date%3D2026` is `date=2026`.
fn decoded(key: &str) -> String {
    let mut parts = key.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

fn done(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\netag: \"x\"\r\n\
         last-modified: Tue, 01 Sep 2026 05:00:00 GMT\r\n{headers}\r\n{body}"
    )
}
