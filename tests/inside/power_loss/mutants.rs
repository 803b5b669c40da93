//! The same runs with a mistake in them, each of which has to be found: what the recording would be of a program
//! that syncs too little, or in another order.

use std::ffi::OsStr;
use std::path::Path;

use super::trace::{Act, Op};

/// What is wrong, and the operations.
pub(super) fn mutants(ops: &[Op]) -> Vec<(&'static str, Vec<Op>)> {
    let without = |is_dropped: &dyn Fn(&Act) -> bool| {
        let kept = ops.iter().enumerate().filter(|(_, op)| !is_dropped(&op.act));
        renumbered(ops, kept.map(|(at, op)| (Some(at), op.act.clone())).collect())
    };
    let synced = |act: &Act, is: &dyn Fn(&Path) -> bool| matches!(act, Act::Sync(path) if is(path));
    vec![
        ("no file is synced", without(&|act| synced(act, &is_file))),
        ("no folder is synced", without(&|act| synced(act, &|path| !is_file(path)))),
        ("no journal is synced", without(&|act| synced(act, &|path| has_extension(path, "journal")))),
        ("a file is synced after its rename", synced_after_rename(ops)),
        ("a journal goes before its files are there", journal_first(ops)),
    ]
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().and_then(OsStr::to_str) == Some(extension)
}

fn is_file(path: &Path) -> bool {
    has_extension(path, "journal") || has_extension(path, "parquet") || path.ends_with("checksums")
}

/// An operation with the place that it had, if it had one.
type Moved = (Option<usize>, Act);

/// The calls of those that are left cover what they covered.
fn renumbered(ops: &[Op], moved: Vec<Moved>) -> Vec<Op> {
    let mut places = Vec::with_capacity(moved.len());
    let mut renumbered = Vec::with_capacity(moved.len());
    for (at, (before, act)) in moved.into_iter().enumerate() {
        let called_after = before.map_or(at, |before| {
            let covered = |place: &&Option<usize>| place.is_none_or(|place| place < ops[before].called_after);
            places.iter().filter(covered).count()
        });
        renumbered.push(Op { act, called_after });
        places.push(before);
    }
    renumbered
}

fn synced_after_rename(ops: &[Op]) -> Vec<Op> {
    let mut moved: Vec<Moved> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match &op.act {
            Act::Sync(path) if has_extension(path, "parquet") => {}
            Act::Rename { to, .. } => {
                moved.push((Some(at), op.act.clone()));
                moved.push((None, Act::Sync(to.clone())));
            }
            _ => moved.push((Some(at), op.act.clone())),
        }
    }
    renumbered(ops, moved)
}

fn journal_first(ops: &[Op]) -> Vec<Op> {
    let mut moved: Vec<Moved> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match &op.act {
            Act::Remove(path) if has_extension(path, "journal") => {
                let rename = moved.iter().rposition(|(_, act)| matches!(act, Act::Rename { .. }));
                moved.insert(rename.unwrap_or(moved.len()), (None, op.act.clone()));
            }
            _ => moved.push((Some(at), op.act.clone())),
        }
    }
    renumbered(ops, moved)
}
