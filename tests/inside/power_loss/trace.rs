//! What `strace` saw, as operations on files and folders.
//!
//! The order is that of the calls' ends: a write counts once it has returned. A sync covers what had
//! returned when it was called, so each operation knows how many came before its call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One operation that succeeded.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) act: Act,
    /// How many operations had ended when it was called.
    pub(super) called_after: usize,
}

/// What was done. Paths are below the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    MakeFolder(PathBuf),
    RemoveFolder(PathBuf),
    /// Opened for writing; made if it was not there.
    Open {
        path: PathBuf,
        cut: bool,
    },
    /// At the end where there is no place.
    Write {
        path: PathBuf,
        place: Option<u64>,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        len: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    /// Of a file or of a folder.
    Sync(PathBuf),
    /// A line on stdout told of a result.
    Told {
        run_id: String,
        seq: i64,
    },
}

/// The calls to be traced.
pub(super) const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,\
     rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,ftruncate,truncate,lseek,close,\
     copy_file_range,sendfile,fallocate,link,linkat,symlink,symlinkat,mmap";

/// Folders of a runner's state that are no part of the sink.
const OTHERS: [&str; 6] = ["plugins", "checks", "seen", "records", "lock", "adopt"];

/// Reads a whole log. `data` is the data folder of the run.
pub(super) fn parse(log: &str, data: &Path) -> Vec<Op> {
    let mut reader = Reader { data: data.to_owned(), ..Reader::default() };
    for line in log.lines() {
        reader.line(line);
    }
    assert!(reader.unfinished.is_empty(), "calls without an end: {:?}", reader.unfinished.keys());
    reader.ops
}

#[derive(Default)]
struct Reader {
    data: PathBuf,
    ops: Vec<Op>,
    /// By thread: the begin of its call, and how many operations had ended then.
    unfinished: HashMap<String, (String, usize)>,
    /// By descriptor: files that are open for writing.
    open: HashMap<i64, OpenFile>,
    stdout: Vec<u8>,
}

struct OpenFile {
    path: PathBuf,
    /// None for one that is opened for appending.
    place: Option<u64>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let Some((thread, rest)) = line.split_once(' ') else { return };
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            // A thread that ends in a call never returns from it.
            if rest.starts_with("+++") {
                self.unfinished.remove(thread);
            }
            return;
        }
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            self.unfinished.insert(thread.to_owned(), (begin.to_owned(), self.ops.len()));
            return;
        }
        let (whole, called_after) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, end) = resumed.split_once(" resumed>").expect("a resumed call");
                let (begin, called_after) = self.unfinished.remove(thread).expect("its begin");
                (begin + end, called_after)
            }
            None => (rest.to_owned(), self.ops.len()),
        };
        if let Some(act) = self.act(&whole) {
            self.ops.push(Op { act, called_after });
        }
    }

    /// The whole lines of stdout so far, each as a result that was told.
    fn tell(&mut self, called_after: usize) {
        while let Some(end) = self.stdout.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.stdout.drain(..=end).collect();
            let row: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let told = Act::Told {
                run_id: row["run_id"].as_str().unwrap().to_owned(),
                seq: row["seq"].as_i64().unwrap(),
            };
            self.ops.push(Op { act: told, called_after });
        }
    }

    /// What a call did; none if it failed, or concerns nothing of the sink's.
    fn act(&mut self, call: &str) -> Option<Act> {
        let (name, rest) = call.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let arguments = arguments.trim_end().trim_end_matches(')');
        let result: i64 = result.split(['<', ' ']).next()?.parse().ok().filter(|code| *code >= 0)?;
        let texts = || quoted(arguments);
        match name {
            "openat" => self.opened(&path_of(&texts()[0]), arguments, result),
            "write" | "writev" | "pwrite64" => self.written(name, arguments, result as usize),
            "mkdir" | "mkdirat" => self.ours(&path_of(&texts()[0])).map(Act::MakeFolder),
            "rmdir" => self.ours(&path_of(&texts()[0])).map(Act::RemoveFolder),
            "unlink" => self.ours(&path_of(&texts()[0])).map(Act::Remove),
            "unlinkat" => self.ours(&path_of(&texts()[0])).map(|path| {
                if arguments.contains("AT_REMOVEDIR") { Act::RemoveFolder(path) } else { Act::Remove(path) }
            }),
            "rename" | "renameat" | "renameat2" => {
                let [from, to] = [0, 1].map(|at| self.ours(&path_of(&texts()[at])));
                assert_eq!(from.is_some(), to.is_some(), "a file that is kept elsewhere: {from:?} {to:?}");
                Some(Act::Rename { from: from?, to: to? })
            }
            "fsync" | "fdatasync" => self.ours(&descriptor(arguments)?.1).map(Act::Sync),
            "ftruncate" => {
                let path = self.ours(&descriptor(arguments)?.1)?;
                Some(Act::Resize { path, len: arguments.rsplit_once(", ")?.1.parse().unwrap() })
            }
            "lseek" => {
                let open = self.open.get_mut(&descriptor(arguments)?.0)?;
                open.place = open.place.map(|_| result as u64);
                None
            }
            "close" => {
                let (number, path) = descriptor(arguments)?;
                let path = self.ours(&path)?;
                if self.open.get(&number).is_some_and(|open| open.path == path) {
                    self.open.remove(&number);
                }
                None
            }
            "mmap" => {
                let writes = arguments.contains("PROT_WRITE") && arguments.contains("MAP_SHARED");
                let file = arguments.split(", ").nth(4).and_then(descriptor);
                assert!(!writes || file.and_then(|(_, path)| self.ours(&path)).is_none(), "{call}");
                None
            }
            // Whatever else changes a file: the model does not know it.
            _ => {
                let known = descriptor(arguments).and_then(|(_, path)| self.ours(&path));
                let named = texts().iter().find_map(|text| self.ours(&path_of(text)));
                assert!(known.or(named).is_none(), "a call that the model does not know: {name}");
                None
            }
        }
    }

    fn opened(&mut self, path: &Path, arguments: &str, number: i64) -> Option<Act> {
        let path = self.ours(path)?;
        let has = |flag: &str| arguments.contains(flag);
        if !has("O_WRONLY") && !has("O_RDWR") {
            return None;
        }
        let place = (!has("O_APPEND")).then_some(0);
        self.open.insert(number, OpenFile { path: path.clone(), place });
        Some(Act::Open { path, cut: has("O_TRUNC") })
    }

    fn written(&mut self, name: &str, arguments: &str, len: usize) -> Option<Act> {
        let (number, path) = descriptor(arguments)?;
        // The runner's own: the processes that it starts have other ones.
        if number == 1 && path == Path::new("/dev/null") {
            self.stdout.extend(quoted(arguments).concat().get(..len)?);
            self.tell(self.ops.len());
            return None;
        }
        let path = self.ours(&path)?;
        let bytes = quoted(arguments).concat().get(..len).expect("whole strings in the log").to_vec();
        if name == "pwrite64" {
            let place = arguments.rsplit_once(", ")?.1.parse().unwrap();
            return Some(Act::Write { path, place: Some(place), bytes });
        }
        let open = self.open.get_mut(&number).expect("a file that was opened");
        assert_eq!(open.path, path);
        let place = open.place;
        open.place = place.map(|place| place + len as u64);
        Some(Act::Write { path, place, bytes })
    }

    /// The path below the data folder, if it is one of the sink's.
    fn ours(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.data).ok()?;
        let parts: Vec<_> = below.iter().collect();
        match parts.as_slice() {
            [] => Some(PathBuf::new()),
            [first, ..] if *first == "results" => Some(below.to_owned()),
            [first, _, what, ..] if *first == "state" && OTHERS.iter().any(|other| what == other) => None,
            [first, ..] if *first == "state" => Some(below.to_owned()),
            _ => None,
        }
    }
}

/// `17<path>` at the begin of arguments.
fn descriptor(arguments: &str) -> Option<(i64, PathBuf)> {
    let (number, rest) = arguments.split_once('<')?;
    Some((number.parse().ok()?, path_of(&unescaped(rest.split_once('>')?.0))))
}

/// Every text in quotation marks. All bytes stand as `\x41`, so that nothing else can be in them.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    assert!(!arguments.contains("\"..."), "a text that was cut");
    arguments.split('"').skip(1).step_by(2).map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let digits = |part: &str| u8::from_str_radix(part, 16).unwrap_or_else(|error| panic!("{error}: {text}"));
    text.split("\\x").skip(1).map(digits).collect()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn a_log_is_read_in_the_order_of_the_ends() {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<Vec<_>>().concat();
    let file = hex("/d/state/main/journal/a");
    let log = format!(
        "1 openat(AT_FDCWD<{cwd}>, \"{file}\", O_WRONLY|O_CREAT, 0640) = 7<{file}>\n\
         1 write(7<{file}>, \"{one}\", 3 <unfinished ...>\n\
         2 fdatasync(7<{file}> <unfinished ...>\n\
         1 <... write resumed>)      = 2\n\
         2 <... fdatasync resumed>)  = 0\n\
         1 write(7<{file}>, \"{one}\", 3) = -1 ENOSPC (No space left on device)\n\
         1 write(7<{file}>, \"{one}\", 3) = 3\n\
         1 unlink(\"{other}\") = 0\n\
         1 +++ exited with 0 +++\n",
        cwd = hex("/"),
        one = hex("abc"),
        other = hex("/d/state/main/plugins/x"),
    );
    let ops = parse(&log, Path::new("/d"));
    let path = PathBuf::from("state/main/journal/a");
    let write = |place, bytes: &[u8]| Act::Write { path: path.clone(), place, bytes: bytes.to_vec() };
    let acts: Vec<_> = ops.iter().map(|op| (op.act.clone(), op.called_after)).collect();
    let expected = [
        (Act::Open { path: path.clone(), cut: false }, 0),
        (write(Some(0), b"ab"), 1),
        // Called before the write had returned: it covers nothing of it.
        (Act::Sync(path.clone()), 1),
        (write(Some(2), b"abc"), 3),
    ];
    assert_eq!(acts, expected);
}
