//! What a file or folder is at present, so that a change of it is seen: the truth that events only hint at.
//!
//! Events are missed for symlinked folders that are switched, edited link targets, bind mounts, network
//! file systems, and folders that were removed and made again. So every path is looked at, cheaply by what
//! its metadata says (device, inode, size, times), and read only if that differs or is too young to be
//! trusted. What counts in the end is the content: a file that was only touched has not changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use crate::clock::UnixNanos;
use crate::config::open_input;

/// Metadata of a file that was changed less than this ago may stay the same through another change.
const YOUNG_NS: i64 = 2_000_000_000;
/// Larger files are not read: their metadata has to do.
const LARGEST_READ: u64 = 64 << 20;

/// What a path is: equal prints are equal contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// There is nothing.
    Missing,
    /// It is there and cannot be read.
    Unreadable,
    /// A folder, by the names in it.
    Folder(u64),
    /// A file, by its content.
    Content(u64),
    /// A file that is too large to be read each time, by its metadata.
    Large(Look),
}

/// What the metadata of a path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i64,
    changed_ns: i64,
}

/// What is known of one path.
#[derive(Debug, Clone, Copy)]
struct Known {
    look: Option<Look>,
    print: Print,
    /// Whether the metadata was old enough to be trusted when it was read.
    is_settled: bool,
}

/// Reads prints, and remembers them by the metadata.
#[derive(Debug, Default)]
pub(super) struct Prints {
    known: BTreeMap<PathBuf, Known>,
}

/// Prints of several paths.
pub(super) type Printed = BTreeMap<PathBuf, Print>;

impl Prints {
    /// What these paths are now. `now` is civil time.
    pub(super) fn of<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>, now: UnixNanos) -> Printed {
        paths.into_iter().map(|path| (path.clone(), self.one(path, now))).collect()
    }

    /// Whether a path that was looked at was changed last long before this moment.
    pub(super) fn is_older_than(&self, path: &Path, moment: UnixNanos) -> bool {
        let look = self.known.get(path).and_then(|known| known.look);
        look.is_some_and(|look| look.youngest_ns() < moment.0.saturating_sub(YOUNG_NS))
    }

    /// Forgets all but these paths.
    pub(super) fn keep(&mut self, paths: &std::collections::BTreeSet<PathBuf>) {
        self.known.retain(|path, _| paths.contains(path));
    }

    /// What a path is now.
    pub(super) fn one(&mut self, path: &Path, now: UnixNanos) -> Print {
        let metadata = fs::metadata(path);
        let look = metadata.as_ref().ok().map(Look::of);
        let is_folder = metadata.as_ref().is_ok_and(Metadata::is_dir);
        if let Some(known) = self.known.get(path)
            && known.look == look
            && look.is_some()
            && known.is_settled
        {
            return known.print;
        }
        let print = match (&metadata, look) {
            (Err(error), _) if is_gone(error.kind()) => Print::Missing,
            (Err(_), _) | (_, None) => Print::Unreadable,
            (Ok(_), Some(_)) if is_folder => folder(path),
            (Ok(_), Some(look)) => content(path, look),
        };
        // A folder's own times do not tell of what its files are, but all that is printed of it are names.
        let is_settled = look.is_some_and(|look| look.youngest_ns() < now.0.saturating_sub(YOUNG_NS));
        self.known.insert(path.to_owned(), Known { look, print, is_settled });
        print
    }
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn youngest_ns(&self) -> i64 {
        self.modified_ns.max(self.changed_ns)
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    // A part of the path that is a file now, or a link to nowhere, is gone as well.
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn folder(path: &Path) -> Print {
    let Ok(entries) = fs::read_dir(path) else { return Print::Unreadable };
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        all.extend_from_slice(name.as_encoded_bytes());
        all.push(0);
    }
    Print::Folder(XxHash3_64::oneshot(&all))
}

fn content(path: &Path, look: Look) -> Print {
    if look.bytes > LARGEST_READ {
        return Print::Large(look);
    }
    let mut bytes = Vec::new();
    match open_input(path).map(|file| file.take(LARGEST_READ).read_to_end(&mut bytes)) {
        Ok(Ok(_)) => Print::Content(XxHash3_64::oneshot(&bytes)),
        _ => Print::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: UnixNanos = UnixNanos(i64::MAX);

    #[test]
    fn a_touched_file_is_the_same_and_a_changed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let mut prints = Prints::default();
        assert_eq!(prints.one(&file, LATER), Print::Missing);
        fs::write(&file, "one").unwrap();
        let one = prints.one(&file, LATER);
        assert!(matches!(one, Print::Content(_)));
        fs::write(&file, "one").unwrap();
        assert_eq!(prints.one(&file, LATER), one, "H121: written again with the same content");
        fs::write(&file, "two").unwrap();
        assert_ne!(prints.one(&file, LATER), one);
        fs::remove_file(&file).unwrap();
        assert_eq!(prints.one(&file, LATER), Print::Missing);
    }

    #[test]
    fn what_is_young_is_read_again_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "one").unwrap();
        let mut prints = Prints::default();
        let now = UnixNanos(Look::of(&fs::metadata(&file).unwrap()).youngest_ns() + 1);
        prints.one(&file, now);
        assert!(!prints.known[&file].is_settled, "it may change within the resolution of its times");
        prints.one(&file, UnixNanos(now.0 + YOUNG_NS));
        assert!(prints.known[&file].is_settled);
    }

    #[test]
    fn a_switched_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("x"), name).unwrap();
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("a", &link).unwrap();
        let mut prints = Prints::default();
        let before = prints.one(&link.join("x"), LATER);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("b", &link).unwrap();
        assert_ne!(prints.one(&link.join("x"), LATER), before);
    }

    #[test]
    fn a_folder_is_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut prints = Prints::default();
        let empty = prints.one(folder.path(), UnixNanos(0));
        fs::write(folder.path().join(".swp"), "").unwrap();
        assert_eq!(prints.one(folder.path(), UnixNanos(0)), empty, "hidden files are nobody's");
        fs::write(folder.path().join("x"), "").unwrap();
        assert_ne!(prints.one(folder.path(), UnixNanos(0)), empty);
    }
}
