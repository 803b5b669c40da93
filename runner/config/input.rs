//! Reading a file that a person names: only a regular one, and only up to a limit. A pipe could block for
//! ever, a device never end.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a file, at most `limit` bytes and one more, so that a file that is too long can be told from one
/// that just fits. The error is the reason in plain words, without the path.
pub fn read_input(path: &Path, limit: u64) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    open_input(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|error| io_reason(&error))?;
    Ok(bytes)
}

/// Opens a regular file.
pub fn open_input(path: &Path) -> Result<File, &'static str> {
    let metadata = fs::metadata(path).map_err(|error| io_reason(&error))?;
    if metadata.is_dir() {
        return Err("it is a folder");
    }
    if !metadata.is_file() {
        return Err("it is not a file");
    }
    File::open(path).map_err(|error| io_reason(&error))
}

/// An I/O error in plain words.
fn io_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::IsADirectory => "it is a folder",
        io::ErrorKind::NotADirectory => "a part of the path is not a folder",
        _ => "the operating system reports an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_input(folder.path(), 10), Err("it is a folder"));
        assert_eq!(read_input(Path::new("/dev/zero"), 10), Err("it is not a file"));
        assert_eq!(read_input(&folder.path().join("x"), 10), Err("there is no such file"));
        fs::write(folder.path().join("x"), "0123456789abcdef").unwrap();
        assert_eq!(read_input(&folder.path().join("x"), 10).map(|bytes| bytes.len()), Ok(11));
    }
}
