//! A file of lines that grows, and is rotated: shared by those sinks that write lines to a file.
//!
//! Lines come in whole pieces, each in one write. What a failed write left of a piece is taken back, and what a crash
//! left of a line is cut when the file is opened again, so that every line is whole. The file may be renamed by
//! anybody at any time: a new one is begun.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::parquet::publish::FILE_MODE;
use crate::clock::UnixNanos;

/// How much of a torn line's end is looked through at a time for its begin.
const STEP: u64 = 64 << 10;

/// When a file is renamed, and what becomes of the renamed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Before it becomes longer than this. A piece that is longer has a file to itself.
    pub(crate) max_bytes: u64,
    /// At multiples of this since the epoch, when the next lines come. None for never.
    pub(crate) every: Option<Duration>,
    /// How renamed ones are called.
    pub(crate) names: Names,
}

/// How renamed files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `<name>.1`; the one before goes.
    One,
    /// `<stem>-20260901T050000Z.<extension>`, by the time of the renaming; the oldest go beyond so many.
    Dated(usize),
}

/// A file of lines.
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    rules: Rules,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    /// Which file it is, to know it again.
    identity: (u64, u64),
    /// The number of its period.
    period: i64,
}

impl LineFile {
    /// A file that is made when the first lines come; its folder too.
    pub(crate) fn new(path: PathBuf, rules: Rules) -> Self {
        Self { path, rules, open: None }
    }

    /// Appends whole lines. After an error nothing of them is there.
    pub(crate) fn append(&mut self, lines: &[u8], now: UnixNanos) -> io::Result<()> {
        let period = self.period(now);
        if self.open.as_ref().is_some_and(|open| !is_at(&self.path, open.identity)) {
            self.open = None;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.reopened()?,
        };
        let is_full = open.length.saturating_add(lines.len() as u64) > self.rules.max_bytes;
        if open.length > 0 && (is_full || open.period < period) {
            self.put_away(now)?;
            open = self.reopened()?;
        }
        if open.length == 0 {
            open.period = period;
        }
        match open.file.write_all(lines) {
            Ok(()) => {
                open.length += lines.len() as u64;
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                // Where that fails too, the file stays closed, and is put right when it is opened.
                if open.file.set_len(open.length).is_ok() {
                    self.open = Some(open);
                }
                Err(error)
            }
        }
    }

    /// Opens the file, or makes it. What a crash has torn is cut.
    #[allow(clippy::disallowed_methods, reason = "appends to what is there; nothing is published by it")]
    fn reopened(&self) -> io::Result<Open> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file =
            OpenOptions::new().read(true).create(true).append(true).mode(FILE_MODE).open(&self.path)?;
        mend(&mut file)?;
        let known = file.metadata()?;
        let written = UnixNanos(known.mtime().saturating_mul(1_000_000_000));
        let (length, identity) = (known.len(), (known.dev(), known.ino()));
        Ok(Open { file, length, identity, period: self.period(written) })
    }

    fn period(&self, at: UnixNanos) -> i64 {
        let every = self.rules.every.map_or(i64::MAX, |every| every.as_nanos().min(i64::MAX as u128) as i64);
        at.0.div_euclid(every.max(1))
    }

    /// Renames the file, and removes what is too old.
    fn put_away(&self, now: UnixNanos) -> io::Result<()> {
        match self.rules.names {
            Names::One => {
                let mut name = self.path.as_os_str().to_owned();
                name.push(".1");
                fs::rename(&self.path, name)
            }
            Names::Dated(keep) => {
                fs::rename(&self.path, self.dated(now)?)?;
                // Files that cannot be removed are no reason to write no more.
                if let Err(error) = self.remove_old(keep) {
                    tracing::warn!(path = %self.path.display(), %error, "old files are still there");
                }
                Ok(())
            }
        }
    }

    fn stem_and_extension(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = self.path.extension().map(|extension| format!(".{}", text(Some(extension))));
        (text(self.path.file_stem()), extension.unwrap_or_default())
    }

    /// A name that comes after all others of the same second.
    fn dated(&self, now: UnixNanos) -> io::Result<PathBuf> {
        let (stem, extension) = self.stem_and_extension();
        let moment = Timestamp::from_second(now.seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
        let begin = format!("{stem}-{}", moment.strftime("%Y%m%dT%H%M%SZ"));
        let last = self.dated_names()?.into_iter().rev().find(|name| name.starts_with(&begin));
        let number = last.map(|name| {
            let number = name[begin.len()..].trim_start_matches('-').get(..4);
            number.and_then(|number| number.parse::<u32>().ok()).unwrap_or(1) + 1
        });
        let number = number.map(|number| format!("-{number:04}")).unwrap_or_default();
        Ok(self.path.with_file_name(format!("{begin}{number}{extension}")))
    }

    /// The names of all that were put away, the oldest first.
    fn dated_names(&self) -> io::Result<Vec<String>> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (stem, extension) = self.stem_and_extension();
        let mut dated = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let middle = name
                .strip_prefix(&stem)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(&extension));
            if middle.is_some_and(is_stamp) {
                dated.push(name);
            }
        }
        // By the stamp: a name with a number behind it comes after the one without.
        dated.sort_unstable_by_key(|name| name[..name.len() - extension.len()].to_owned());
        Ok(dated)
    }

    /// Removes those beyond so many, the oldest first.
    fn remove_old(&self, keep: usize) -> io::Result<()> {
        let dated = self.dated_names()?;
        let surplus = dated.len().saturating_sub(keep);
        dated[..surplus].iter().try_for_each(|name| fs::remove_file(self.path.with_file_name(name)))
    }
}

/// Whether a text is `20260901T050000Z`, maybe with a number behind it.
fn is_stamp(text: &str) -> bool {
    let (stamp, number) = text.split_at_checked(16).unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_form = stamp.len() == 16
        && stamp.is_ascii()
        && digits(&stamp[..8])
        && &stamp[8..9] == "T"
        && digits(&stamp[9..15])
        && stamp.ends_with('Z');
    has_form && (number.is_empty() || number.strip_prefix('-').is_some_and(|n| n.len() == 4 && digits(n)))
}

/// Whether a file is still where it was opened.
fn is_at(path: &Path, identity: (u64, u64)) -> bool {
    fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == identity)
}

/// Cuts a last line that has no end. Only what could be a torn object of ours: anything else is ended.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let start = line_start(file, length)?;
    if start == length {
        return Ok(());
    }
    file.seek(SeekFrom::Start(start))?;
    let mut first = [0];
    file.read_exact(&mut first)?;
    if first == *b"{" { file.set_len(start) } else { file.write_all(b"\n") }
}

/// Where the last line begins: behind the last line end.
fn line_start(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let mut part = vec![0; (end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixNanos = UnixNanos(1_788_264_000_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn dated(max_bytes: u64, every: Option<Duration>, keep: usize) -> Rules {
        Rules { max_bytes, every, names: Names::Dated(keep) }
    }

    /// The names in a folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_torn_line_is_cut_and_a_foreign_one_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("a.jsonl");
        let append = || LineFile::new(path.clone(), dated(1 << 20, None, 1)).append(b"{}\n", NOON).unwrap();
        append();
        let long = vec![b'x'; 3 * STEP as usize];
        for torn in [b"{".as_slice(), b"{\"a\":", &[b"{", long.as_slice()].concat()] {
            fs::write(&path, [b"{\"whole\":1}\n", torn].concat()).unwrap();
            append();
            assert_eq!(fs::read(&path).unwrap(), b"{\"whole\":1}\n{}\n", "{} bytes", torn.len());
        }
        fs::write(&path, "a note").unwrap();
        append();
        assert_eq!(fs::read(&path).unwrap(), b"a note\n{}\n");
    }

    #[test]
    fn a_file_is_put_away_by_size_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(folder.path().join("a-notes.jsonl"), "mine").unwrap();
        let mut file = LineFile::new(path.clone(), dated(8, None, 3));
        for number in 0..6 {
            file.append(format!("{{\"n\":{number}}}\n").as_bytes(), NOON).unwrap();
        }
        // Five were put away in one second, three are left.
        let expected = ["20260901T120000Z-0003", "20260901T120000Z-0004", "20260901T120000Z-0005", "notes"];
        let expected = expected.map(|middle| format!("a-{middle}.jsonl"));
        assert_eq!(names(folder.path())[..4], expected);
        assert_eq!(fs::read(&path).unwrap(), b"{\"n\":5}\n");
        assert_eq!(fs::read(folder.path().join(&expected[2])).unwrap(), b"{\"n\":4}\n");
    }

    #[test]
    fn a_file_is_put_away_by_time_also_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let rules = dated(1 << 20, Some(HOUR), 9);
        let mut file = LineFile::new(path.clone(), rules);
        file.append(b"{}\n", NOON).unwrap();
        file.append(b"{}\n", NOON.plus(HOUR / 2)).unwrap();
        assert_eq!(names(folder.path()), ["a.jsonl"]);
        file.append(b"{\"later\":1}\n", NOON.plus(HOUR)).unwrap();
        assert_eq!(names(folder.path()), ["a-20260901T130000Z.jsonl", "a.jsonl"]);
        assert_eq!(fs::read(&path).unwrap(), b"{\"later\":1}\n");
        // What another run has left is of the hour in which it was written: that of this test, long after.
        let mtime = fs::metadata(&path).unwrap().mtime();
        let next = UnixNanos((mtime + 3_600) * 1_000_000_000);
        LineFile::new(path.clone(), rules).append(b"{}\n", next).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn a_file_that_was_taken_away_or_replaced_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut file = LineFile::new(path.clone(), dated(1 << 20, None, 1));
        file.append(b"{\"n\":1}\n", NOON).unwrap();
        fs::rename(&path, folder.path().join("taken")).unwrap();
        file.append(b"{\"n\":2}\n", NOON).unwrap();
        // As logrotate does with `create`: another file is there already.
        fs::rename(&path, folder.path().join("taken too")).unwrap();
        fs::write(&path, "").unwrap();
        file.append(b"{\"n\":3}\n", NOON).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"n\":3}\n");
        assert_eq!(fs::read(folder.path().join("taken too")).unwrap(), b"{\"n\":2}\n");
    }

    #[test]
    fn a_full_disk_leaves_no_half_line() {
        let mut file = LineFile::new("/dev/full".into(), dated(1 << 20, None, 1));
        assert_eq!(file.append(b"{}\n", NOON).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
