//! A case as `cases.toml` has it: what a peer does to whoever asks, and what must be said of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// What is played here.
    pub(crate) cases: Vec<Case>,
    /// What is tested in another place, or cannot be tested here, and why.
    pub(crate) elsewhere: Vec<Elsewhere>,
}

/// One peer, and what must be said of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its numbers in the lists of faults (N) and of HTTP behaviours (H), separated by a space.
    pub(crate) id: String,
    /// A name of its own, `[a-z0-9-]`: the target's.
    pub(crate) name: String,
    /// What the peer does.
    pub(crate) title: String,
    /// What the runner has to have for it, where it has not yet: it is passed over then.
    pub(crate) needs: Option<String>,
    /// The URL, where it is not `/` of the peer. `{here}` is the peer's address and port, `{port}` its port.
    pub(crate) url: Option<String>,
    /// Lines of the table `[request]`. `{ca}` is the file with the authority that good certificates are of.
    #[serde(default)]
    pub(crate) request: String,
    /// Lines of the pipeline before its first table.
    #[serde(default)]
    pub(crate) pipeline: String,
    /// Tables `[[checks]]`.
    #[serde(default)]
    pub(crate) checks: String,
    /// The peer at the URL.
    #[serde(default)]
    pub(crate) peer: Peer,
    /// Another peer, `{there}` in texts: where a redirect leads to, say.
    pub(crate) there: Option<Peer>,
    /// What the name server says of `{name}.hostile.test`.
    pub(crate) dns: Option<Dns>,
    /// What must be said of it.
    pub(crate) expect: Expect,
}

impl Case {
    /// The same request to a peer that means no harm; over TLS, where the case is.
    pub(crate) fn honest(&self) -> Self {
        let good = |_: &Tls| Tls { certificates: vec!["good".to_owned()], ..Tls::default() };
        let answer = Step::Text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned());
        let tls = self.peer.tls.as_ref().map(good);
        Self {
            url: None,
            peer: Peer { tls, script: vec![answer], ..Peer::default() },
            dns: None,
            ..self.clone()
        }
    }
}

/// What a peer does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Peer {
    /// Whether, and how, it takes connections.
    pub(crate) listen: Listen,
    /// Whether it speaks before it has read a request.
    pub(crate) greets: bool,
    /// Whether it never reads once it has read the request.
    pub(crate) deaf: bool,
    /// Whether requests are HTTP/2: a preface and frames.
    pub(crate) http2: bool,
    /// How it speaks TLS, if it does.
    pub(crate) tls: Option<Tls>,
    /// What it does once it has read a request.
    pub(crate) script: Vec<Step>,
    /// The same for some paths.
    pub(crate) paths: BTreeMap<String, Vec<Step>>,
}

/// Whether, and how, a peer takes connections.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Listen {
    /// Takes each.
    #[default]
    Accept,
    /// Takes each, on `[::1]` instead of 127.0.0.1.
    AcceptIpv6,
    /// Refuses each: the port is taken, and nobody listens.
    Refuse,
    /// Answers none: its queue is full, and nobody takes from it.
    Full,
}

/// How a peer speaks TLS.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// The certificates that it shows, by the names in `certificates.rs`; where there are several, they take turns.
    pub(crate) certificates: Vec<String>,
    /// Protocols that it takes.
    pub(crate) alpn: Vec<String>,
    /// Whether it wants a client certificate.
    pub(crate) wants_certificate: bool,
    /// Whether it speaks TLS 1.2 only.
    pub(crate) only_tls12: bool,
    /// How many bytes of its first flight it sends; then the script begins, without TLS.
    pub(crate) first_bytes: Option<usize>,
}

/// A step of a script. In texts a character is a byte (Latin-1), and `{here}`, `{there}`, `{name}` and `{n}` (the
/// number of the connection) stand for what they name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// Sends a text.
    Text(String),
    /// Anything else.
    Other(Box<Action>),
}

/// A step that is no text: exactly one of these, `times` and `of` apart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Action {
    /// Sends all of `of` so many times, in one piece.
    pub(crate) times: usize,
    /// What is sent so often.
    pub(crate) of: Vec<Step>,
    /// Does these steps for as long as the client stays.
    pub(crate) forever: Vec<Step>,
    /// Waits.
    pub(crate) pause_ms: Option<u64>,
    /// Sends a body of `payloads.rs`.
    pub(crate) payload: Option<String>,
    /// Sends the HTTP/1.1 response with that body, of this coding.
    pub(crate) coded: Option<String>,
    /// Sends a frame of HTTP/2.
    pub(crate) frame: Option<Frame>,
    /// Reads the next request.
    pub(crate) read: bool,
    /// Ends the connection.
    pub(crate) end: Option<End>,
}

/// How a connection ends. Without any, it is closed in good order.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// Says goodbye (TLS), sends FIN, reads on.
    #[default]
    Close,
    /// Sends FIN at once, without the goodbye of TLS.
    Cut,
    /// Sends RST.
    Reset,
    /// Goes on without TLS, then sends FIN.
    LeaveTls,
    /// Keeps it open, and silent.
    Hold,
}

/// A frame of HTTP/2 (RFC 9113 section 4.1). Its payload is all that is given, in the order of the fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// Its type: a name, or a number.
    pub(crate) kind: String,
    /// Its flags.
    #[serde(default)]
    pub(crate) flags: Vec<String>,
    /// Its stream; 0, the default, is the connection.
    #[serde(default)]
    pub(crate) stream: u32,
    /// Numbers of 32 bits.
    #[serde(default)]
    pub(crate) numbers: Vec<u32>,
    /// Settings: number and value.
    #[serde(default)]
    pub(crate) settings: Vec<(u16, u32)>,
    /// Headers, as HPACK literals without Huffman coding and without an index.
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    /// Whether those headers go into the dynamic table.
    #[serde(default)]
    pub(crate) indexed: bool,
    /// Texts and repetitions.
    #[serde(default)]
    pub(crate) content: Vec<Step>,
    /// Its length as it says, where that is a lie.
    pub(crate) says_length: Option<u32>,
}

/// What the name server says of a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dns {
    /// The response code.
    pub(crate) code: u8,
    /// Addresses: of type A or AAAA, as they are.
    pub(crate) addresses: Vec<std::net::IpAddr>,
    /// Gives one address a question, the next one each time, instead of all at once.
    pub(crate) by_turns: bool,
    /// How often each address is in the answer.
    pub(crate) copies: usize,
    /// What is wrong with it.
    pub(crate) trick: Option<Trick>,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trick {
    /// There is none.
    Silence,
    /// There is none for AAAA.
    SilenceForAaaa,
    /// Over UDP, it is cut (TC) after its header.
    Truncated,
    /// The same, and over TCP it never comes.
    TruncatedThenSilence,
    /// Over TCP too, it is cut.
    TruncatedAlways,
    /// The name is an alias of another, which is one of the first.
    AliasLoop,
    /// The name is an alias of itself.
    AliasOfItself,
    /// 100 aliases in a row, then the addresses.
    AliasChain,
    /// A name of it is a pointer to that pointer.
    PointerToItself,
    /// A name of it is a pointer to another pointer, which leads back.
    PointerLoop,
    /// A forged one with another id comes first.
    ForgedId,
    /// A forged one to another question comes first.
    ForgedQuestion,
    /// A forged one from another port comes first.
    ForgedPort,
    /// Only forged ones with another id come.
    OnlyForged,
    /// It is no message.
    Garbage,
    /// It says that it has more records than it has.
    ShortOfRecords,
    /// It denies the name with records of NSEC3 that are of another zone.
    DeniedByAnotherZone,
}

/// What must be said of a case.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// The outcome.
    pub(crate) outcome: String,
    /// The error kind, or those that are right: where the operating system's timing decides between them.
    #[serde(default)]
    pub(crate) error_kind: Kinds,
    /// A part of the error message.
    pub(crate) says: Option<String>,
    /// The status of the last response.
    pub(crate) http_status: Option<i64>,
    /// Whether the fault may come before the client has read the head, which is lost with it then.
    #[serde(default)]
    pub(crate) may_lose_head: bool,
    /// Columns and their values.
    #[serde(default)]
    pub(crate) columns: Map<String, Value>,
    /// Columns and their greatest values.
    #[serde(default)]
    pub(crate) at_most: BTreeMap<String, i64>,
    /// Columns that are not null.
    #[serde(default)]
    pub(crate) present: Vec<String>,
    /// Columns that are null.
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    /// Whether the attempt ends before half of its time is over, and not by its deadline.
    #[serde(default)]
    pub(crate) early: bool,
    /// Lines of the requests that the peer got: their begin.
    #[serde(default)]
    pub(crate) sent: Vec<String>,
    /// Lines that none of its requests had.
    #[serde(default)]
    pub(crate) not_sent: Vec<String>,
    /// The same for the other peer.
    #[serde(default)]
    pub(crate) sent_there: Vec<String>,
    /// The same for the other peer.
    #[serde(default)]
    pub(crate) not_sent_there: Vec<String>,
    /// How many requests the other peer got.
    pub(crate) requests_there: Option<usize>,
}

/// No error kind, one, or any of several.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Kinds {
    /// None.
    #[default]
    None,
    /// This one.
    One(String),
    /// One of these.
    Any(Vec<String>),
}

impl Kinds {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::One(one) => format!("`{one}`"),
            Self::Any(any) => any.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" or "),
        }
    }

    /// Whether a row's kind is right.
    pub(crate) fn allow(&self, kind: Option<&str>) -> bool {
        match self {
            Self::None => kind.is_none(),
            Self::One(one) => kind == Some(one),
            Self::Any(any) => kind.is_some_and(|kind| any.iter().any(|one| one == kind)),
        }
    }
}

/// A number of the list that is not played here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Elsewhere {
    /// Its numbers in the lists of faults (N) and of HTTP behaviours (H), separated by a space.
    pub(crate) id: String,
    /// What it is about.
    pub(crate) title: String,
    /// The test that has it; none where nothing can.
    pub(crate) tested_by: Option<String>,
    /// Why it is not here.
    pub(crate) why: String,
}

/// The cases of `cases.toml`.
pub(crate) fn cases() -> Cases {
    let cases: Cases = toml::from_str(include_str!("cases.toml")).unwrap_or_else(|error| panic!("{error}"));
    let mut names = std::collections::HashSet::new();
    for case in &cases.cases {
        let plain = case.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(plain && names.insert(&case.name), "the name \"{}\"", case.name);
    }
    cases
}
