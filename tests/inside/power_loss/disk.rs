//! A disk that may lose power: what was done to it, and what may be left of that.
//!
//! **Files.** A sync of a file makes its content and length durable, nothing else: not its name. What was
//! written since may be there or not, block by block (512 bytes or 4 KiB) and in any order, and so may each of
//! its lengths; a block that is missing is as it was before, or zeros. A length may also lie within a write, at
//! the end of a block.
//!
//! **Folders.** A sync of a folder makes its entries durable, nothing else: not its own name. What was done to
//! entries since may be there or not, one by one and in any order. A rename is one step: never is neither name
//! there; both may be, where two folders are concerned and one was synced.
//!
//! That is what POSIX promises. File systems do more (a synced file has its name on ext4, XFS and Btrfs, and
//! their metadata keeps its order), so that whoever survives this survives them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::Chance;
use super::trace::{Act, Op};

const ROOT: usize = 0;

/// All files and folders that ever were.
pub(super) struct Disk {
    nodes: Vec<Node>,
    /// Operations so far.
    ops: usize,
}

enum Node {
    Folder(Folder),
    File(File),
}

/// A folder: what was done to its entries.
#[derive(Default)]
struct Folder {
    now: BTreeMap<OsString, usize>,
    changes: Vec<EntryChange>,
    /// So many of the changes are durable.
    durable: usize,
}

struct EntryChange {
    /// The operation.
    at: usize,
    name: OsString,
    /// None if the name went away.
    to: Option<usize>,
    /// The change in another folder that is the other half of a rename: (folder, change).
    twin: Option<(usize, usize)>,
}

/// A file: its content after the last sync, and after each change since.
struct File {
    contents: Vec<(usize, Vec<u8>)>,
}

/// What a sync has made durable.
pub(super) struct Durable {
    /// The file.
    pub(super) path: PathBuf,
    /// Its content.
    pub(super) content: Vec<u8>,
}

/// How much of what is not durable is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Luck {
    /// Of entries, and of blocks: out of 256.
    pub(super) entries: u64,
    pub(super) blocks: u64,
    /// Bytes of a block.
    pub(super) block: usize,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Folder(Folder::default())], ops: 0 }
    }

    /// Does one operation. Tells what a sync has made durable, if it was one of a file.
    pub(super) fn apply(&mut self, op: &Op) -> Option<Durable> {
        let at = self.ops;
        self.ops += 1;
        match &op.act {
            Act::MakeFolder(path) => {
                let node = self.add(Node::Folder(Folder::default()));
                self.enter(path, Some(node), None);
            }
            Act::RemoveFolder(path) | Act::Remove(path) => {
                self.enter(path, None, None);
            }
            Act::Open { path, cut } => {
                if self.find(path).is_none() {
                    let node = self.add(Node::File(File { contents: vec![(at, Vec::new())] }));
                    self.enter(path, Some(node), None);
                } else if *cut {
                    self.change(path, Vec::clear);
                }
            }
            Act::Write { path, place, bytes } => self.change(path, |content| {
                let place = place.map_or(content.len(), |place| place as usize);
                content.resize(content.len().max(place + bytes.len()), 0);
                content[place..place + bytes.len()].copy_from_slice(bytes);
            }),
            Act::Resize { path, len } => self.change(path, |content| content.resize(*len as usize, 0)),
            Act::Rename { from, to } => {
                let node = self.find(from).unwrap_or_else(|| panic!("no {}", from.display()));
                let link = self.enter(to, Some(node), None);
                self.enter(from, None, Some(link));
            }
            Act::Sync(path) => return self.sync(path, op.called_after),
            Act::Told { .. } => {}
        }
        None
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn folder(&mut self, node: usize) -> &mut Folder {
        match &mut self.nodes[node] {
            Node::Folder(folder) => folder,
            Node::File(_) => panic!("a file where a folder should be"),
        }
    }

    /// Changes an entry; tells which change of which folder that was.
    fn enter(&mut self, path: &Path, to: Option<usize>, twin: Option<(usize, usize)>) -> (usize, usize) {
        let at = self.ops - 1;
        let above = self.find(path.parent().unwrap()).unwrap_or_else(|| panic!("no {}", path.display()));
        let name = path.file_name().unwrap().to_owned();
        let folder = self.folder(above);
        match to {
            Some(node) => drop(folder.now.insert(name.clone(), node)),
            None => drop(folder.now.remove(&name)),
        }
        folder.changes.push(EntryChange { at, name, to, twin });
        (above, folder.changes.len() - 1)
    }

    /// Where a path leads now.
    fn find(&self, path: &Path) -> Option<usize> {
        path.iter().try_fold(ROOT, |node, name| match &self.nodes[node] {
            Node::Folder(folder) => folder.now.get(name).copied(),
            Node::File(_) => None,
        })
    }

    fn change(&mut self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let at = self.ops - 1;
        let node = self.find(path).unwrap_or_else(|| panic!("no {}", path.display()));
        let Node::File(file) = &mut self.nodes[node] else { panic!("{} is a folder", path.display()) };
        let mut content = file.contents.last().unwrap().1.clone();
        edit(&mut content);
        file.contents.push((at, content));
    }

    fn sync(&mut self, path: &Path, called_after: usize) -> Option<Durable> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Folder(folder) => {
                let covered = folder.changes.iter().take_while(|change| change.at < called_after).count();
                folder.durable = folder.durable.max(covered);
                None
            }
            Node::File(file) => {
                let covered = file.contents.iter().take_while(|(at, _)| *at < called_after).count();
                file.contents.drain(..covered.saturating_sub(1));
                Some(Durable { path: path.to_owned(), content: file.contents[0].1.clone() })
            }
        }
    }

    /// A file's content as the running system sees it.
    pub(super) fn content(&self, path: &Path) -> Option<&[u8]> {
        match &self.nodes[self.find(path)?] {
            Node::File(file) => file.contents.last().map(|(_, content)| content.as_slice()),
            Node::Folder(_) => None,
        }
    }

    /// Whether a folder's own sync has covered a name that is in it now.
    pub(super) fn is_listed(&self, path: &Path) -> bool {
        let (Some(above), Some(name)) = (path.parent().and_then(|above| self.find(above)), path.file_name())
        else {
            return false;
        };
        let Node::Folder(folder) = &self.nodes[above] else { return false };
        let last = folder.changes[..folder.durable].iter().rfind(|change| change.name == name);
        last.is_some_and(|change| change.to.is_some())
    }

    /// What a loss of power leaves: path to content, folders without. By chance, one of all that may be.
    pub(super) fn after_power_loss(
        &self,
        luck: Luck,
        chance: &mut Chance,
    ) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let kept = self.kept_entries(luck, chance);
        let mut left = BTreeMap::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, node)) = folders.pop() {
            let Node::Folder(folder) = &self.nodes[node] else { continue };
            let mut entries = BTreeMap::new();
            for (change, kept) in folder.changes.iter().zip(&kept[node]) {
                match (kept, change.to) {
                    (false, _) => {}
                    (true, Some(to)) => drop(entries.insert(&change.name, to)),
                    (true, None) => drop(entries.remove(&change.name)),
                }
            }
            for (name, node) in entries {
                let path = path.join(name);
                match &self.nodes[node] {
                    Node::File(file) => drop(left.insert(path, Some(file.after_power_loss(luck, chance)))),
                    Node::Folder(_) => {
                        left.insert(path.clone(), None);
                        folders.push((path, node));
                    }
                }
            }
        }
        left
    }

    /// For each folder, which of its changes are there.
    fn kept_entries(&self, luck: Luck, chance: &mut Chance) -> Vec<Vec<bool>> {
        let mut kept: Vec<Vec<bool>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let Node::Folder(folder) = node else {
                kept.push(Vec::new());
                continue;
            };
            let each = (0..folder.changes.len()).map(|at| at < folder.durable || chance.of_256(luck.entries));
            kept.push(each.collect());
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let Node::Folder(folder) = node else { continue };
            for (change_at, change) in folder.changes.iter().enumerate() {
                let Some((twin, twin_change)) = change.twin else { continue };
                if kept[at][change_at] && !kept[twin][twin_change] {
                    // The old name is gone: then the new one is there.
                    if change_at < folder.durable {
                        kept[twin][twin_change] = true;
                    } else {
                        kept[at][change_at] = false;
                    }
                }
            }
        }
        kept
    }
}

impl File {
    fn after_power_loss(&self, luck: Luck, chance: &mut Chance) -> Vec<u8> {
        let versions = &self.contents;
        let [_, .., (_, last)] = versions.as_slice() else { return versions[0].1.clone() };
        let mut pick = |luck_of: u64| {
            if chance.of_256(luck_of) {
                versions.len() - 1
            } else {
                chance.below(versions.len() as u64) as usize
            }
        };
        let mut len =
            if luck.blocks == 0 { versions[0].1.len() } else { versions[pick(luck.blocks)].1.len() };
        let longest = versions.iter().map(|(_, content)| content.len()).max().unwrap_or(0);
        let mut left = vec![0; longest];
        for (block, place) in left.chunks_mut(luck.block).enumerate() {
            let version = if luck.blocks == 0 { 0 } else { pick(luck.blocks) };
            let from = versions[version].1.get(block * luck.block..).unwrap_or(&[]);
            let from = &from[..from.len().min(place.len())];
            place[..from.len()].copy_from_slice(from);
        }
        // Within a write, at the end of a block.
        if luck.blocks > 0 && luck.blocks < 256 && chance.of_256(64) {
            let shortest = versions.iter().map(|(_, content)| content.len()).min().unwrap_or(0);
            let blocks = (last.len() / luck.block) as u64 + 1;
            len = (chance.below(blocks) as usize * luck.block).max(shortest).min(longest);
        }
        left.truncate(len);
        left
    }
}

/// Makes a folder of what is left.
pub(super) fn materialise(left: &BTreeMap<PathBuf, Option<Vec<u8>>>, folder: &Path) {
    for (path, content) in left {
        let path = folder.join(path);
        match content {
            None => fs::create_dir(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LUCKS: [u64; 3] = [0, 128, 256];

    fn disk(acts: Vec<Act>) -> Disk {
        let mut disk = Disk::new();
        for (at, act) in acts.into_iter().enumerate() {
            disk.apply(&Op { act, called_after: at });
        }
        disk
    }

    fn all_states(disk: &Disk) -> Vec<BTreeMap<PathBuf, Option<Vec<u8>>>> {
        let mut chance = Chance::new(7);
        let mut states = Vec::new();
        for round in 0..3_000 {
            let luck = Luck { entries: LUCKS[round % 3], blocks: LUCKS[round / 3 % 3], block: 4 };
            states.push(disk.after_power_loss(luck, &mut chance));
        }
        states.sort();
        states.dedup();
        states
    }

    fn write(path: &str, bytes: &[u8]) -> [Act; 2] {
        let path = PathBuf::from(path);
        [
            Act::Open { path: path.clone(), cut: false },
            Act::Write { path, place: Some(0), bytes: bytes.to_vec() },
        ]
    }

    #[test]
    fn what_is_not_synced_may_be_lost_in_any_part() {
        let [open, bytes] = write("a", b"abcdEFGH");
        let states = all_states(&disk(vec![open, bytes]));
        let contents: Vec<_> =
            states.iter().map(|state| state.get(Path::new("a")).cloned().flatten()).collect();
        for expected in
            [None, Some(""), Some("abcd"), Some("abcdEFGH"), Some("abcd\0\0\0\0"), Some("\0\0\0\0EFGH")]
        {
            assert!(contents.contains(&expected.map(|text| text.as_bytes().to_vec())), "{expected:?}");
        }
    }

    #[test]
    fn what_is_synced_stays_and_a_name_needs_its_folder() {
        let [open, bytes] = write("a", b"abcdEFGH");
        let sync_file = Act::Sync("a".into());
        let states = all_states(&disk(vec![open.clone(), bytes.clone(), sync_file.clone()]));
        let whole = BTreeMap::from([(PathBuf::from("a"), Some(b"abcdEFGH".to_vec()))]);
        assert_eq!(states, [BTreeMap::new(), whole.clone()]);
        let states = all_states(&disk(vec![open, bytes, sync_file, Act::Sync(PathBuf::new())]));
        assert_eq!(states, [whole]);
    }

    #[test]
    fn a_rename_loses_neither_name_and_only_a_sync_decides() {
        let [open, bytes] = write("one/a", b"abcd");
        let mut acts = vec![
            Act::MakeFolder("one".into()),
            Act::MakeFolder("two".into()),
            open,
            bytes,
            Act::Sync("one/a".into()),
            Act::Sync("one".into()),
            Act::Sync(PathBuf::new()),
            Act::Rename { from: "one/a".into(), to: "two/a".into() },
        ];
        let names = |acts: &[Act]| {
            let states = all_states(&disk(acts.to_vec()));
            let has =
                |state: &BTreeMap<PathBuf, Option<Vec<u8>>>, path: &str| state.contains_key(Path::new(path));
            let mut names: Vec<_> =
                states.iter().map(|state| (has(state, "one/a"), has(state, "two/a"))).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(&acts), [(false, true), (true, false), (true, true)]);
        acts.push(Act::Sync("two".into()));
        assert_eq!(names(&acts), [(false, true), (true, true)]);
        acts.push(Act::Sync("one".into()));
        assert_eq!(names(&acts), [(false, true)]);
    }
}
