//! How much memory the process may have, and what of it the probes in flight may take where the user says nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::DEFAULT_BODY_MEMORY;

/// What a probe in flight takes where its body waits for room, about, in bytes, the body beyond the first 64 KiB apart:
/// those 64 KiB, hyper's buffer of up to 128 KiB (`BUFFER_BEYOND_HEAD` and the default `header_limit`), its task of
/// 8 KiB, and what the kernel has for its socket. Measured with 500 to 1,500 bodies of 1 MiB that wait, over HTTP/1:
/// 165 to 230 KiB resident, and some 60 KiB of sockets, of which the reserve of a half has room for what is above.
/// A `header_limit` of 1 MiB, or HTTP/2 with its window of 256 KiB, may take more: set `concurrency` there.
const PROBE_BYTES: u64 = 256 << 10;
/// This part of the memory goes to the bodies, and the same again to the probes in flight. The rest is for the engine,
/// the targets, the checks, the writer's buffers, and the compiler's process.
const SHARE: u64 = 4;
/// Less than this would hold no body of the default `body_limit`.
const LEAST_BODY_MEMORY: u64 = 1 << 20;

/// The smallest of the limits on the memory of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub bytes: u64,
    /// The file that says so: one of a control group, `/proc/self/limits`, or `/proc/meminfo` for the machine itself.
    pub said_by: PathBuf,
}

impl MemoryLimit {
    /// What holds now; none where the system does not tell.
    pub fn of_this_process() -> Option<Self> {
        Self::told_below(Path::new("/"))
    }

    /// What bodies may take together: a quarter, from 1 MiB to 256 MiB.
    pub fn body_memory(&self) -> u64 {
        (self.bytes / SHARE).clamp(LEAST_BODY_MEMORY, DEFAULT_BODY_MEMORY)
    }

    /// How many probes may be in flight: as many as fit in a quarter by 256 KiB each, at least 1.
    pub fn max_concurrency(&self) -> usize {
        usize::try_from(self.bytes / SHARE / PROBE_BYTES).unwrap_or(usize::MAX).max(1)
    }

    /// The same, of a system whose files are below `root`.
    fn told_below(root: &Path) -> Option<Self> {
        let mut limits: Vec<_> = groups(root).iter().flat_map(|group| group.limits(root)).collect();
        limits.extend(machine(root));
        limits.extend(address_space(root));
        limits.into_iter().min_by_key(|limit| limit.bytes)
    }
}

/// What the machine has (`proc_meminfo(5)`).
fn machine(root: &Path) -> Option<MemoryLimit> {
    let said_by = PathBuf::from("/proc/meminfo");
    let text = read(root, &said_by)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(MemoryLimit { bytes: kib.checked_mul(1_024)?, said_by })
}

/// What the process may have mapped, `ulimit -v` (`proc_pid_limits(5)`, `getrlimit(2)`): more than what it has of memory,
/// so that what fits by this number is the most that may be there.
fn address_space(root: &Path) -> Option<MemoryLimit> {
    let said_by = PathBuf::from("/proc/self/limits");
    let text = read(root, &said_by)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    // The soft limit comes first. "unlimited" is no number.
    let bytes = line.split_whitespace().next()?.parse().ok().filter(|bytes| *bytes > 0)?;
    Some(MemoryLimit { bytes, said_by })
}

/// A control group that the process is in, of a hierarchy that bounds memory.
struct Group {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The group's folder: the mount point, or below it.
    folder: PathBuf,
    /// Files that may tell a limit.
    files: &'static [&'static str],
}

impl Group {
    /// The limits of the group and of all above it: each holds.
    fn limits(&self, root: &Path) -> Vec<MemoryLimit> {
        let folders = self.folder.ancestors().take_while(|folder| folder.starts_with(&self.mount));
        let files = folders.flat_map(|folder| self.files.iter().map(move |file| folder.join(file)));
        // "max" is no number. A limit of 0 is one that nothing can run under, and so none that holds for us.
        let limit = |said_by: PathBuf| {
            let bytes = read(root, &said_by)?.trim().parse().ok().filter(|bytes| *bytes > 0)?;
            Some(MemoryLimit { bytes, said_by })
        };
        files.filter_map(limit).collect()
    }
}

/// The control groups of the process (`cgroups(7)`, `proc_pid_mountinfo(5)`).
fn groups(root: &Path) -> Vec<Group> {
    let paths = read(root, Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = read(root, Path::new("/proc/self/mountinfo")).unwrap_or_default();
    mounts.lines().filter_map(|line| group(line, &paths)).collect()
}

/// The process's group in what a line of `mountinfo` mounts; `paths` is what `/proc/self/cgroup` says.
fn group(line: &str, paths: &str) -> Option<Group> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, mount) = (unescaped(place.next()?), PathBuf::from(unescaped(place.next()?)));
    let mut kind = kind.split(' ');
    let (file_system, options) = (kind.next()?, kind.nth(1)?);
    let is_named = |options: &str| options.split(',').any(|option| option == "memory");
    // A line is "number:controllers:path"; version 2 has the number 0 and no controllers.
    let of_hierarchy = |line: &str, is_version_2: bool| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it =
            if is_version_2 { number == "0" && controllers.is_empty() } else { is_named(controllers) };
        is_it.then(|| path.to_owned())
    };
    let (is_version_2, files): (_, &'static [&'static str]) = match file_system {
        "cgroup2" => (true, &["memory.max", "memory.high"]),
        "cgroup" if is_named(options) => (false, &["memory.limit_in_bytes"]),
        _ => return None,
    };
    let path = paths.lines().find_map(|line| of_hierarchy(line, is_version_2))?;
    // In a container, the path may be that of the host while only a part of the hierarchy is mounted, or lead out of
    // what is mounted ("/../x"): then the mount point is the group, as near as can be seen.
    let below = Path::new(&path).strip_prefix(&top).ok().filter(|path| !path.starts_with(".."));
    let folder = below.map_or_else(|| mount.clone(), |below| mount.join(below));
    Some(Group { mount, folder, files })
}

/// A path of `mountinfo`, where blanks and the like are octal: `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn read(root: &Path, path: &Path) -> Option<String> {
    fs::read_to_string(root.join(path.strip_prefix("/").ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:  1 kB\n";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw shared:3 master:1 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    /// What version 1 has where there is no limit: the largest number of whole pages.
    const NONE_IN_V1: &str = "9223372036854771712\n";

    /// A system: its name, `cgroup`, `mountinfo`, further files; the limit in MiB and the file that says so.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        u64,
        &'static str,
    );

    const MACHINE: (u64, &str) = (16 << 10, "/proc/meminfo");

    const CASES: &[Case] = &[
        ("no groups", "", "", &[], MACHINE.0, MACHINE.1),
        (
            "a limit on the address space",
            "",
            "",
            &[(
                "proc/self/limits",
                "Max processes   64   64   processes\nMax address space   536870912   unlimited   bytes\n",
            )],
            512,
            "/proc/self/limits",
        ),
        (
            "none on the address space",
            "",
            "",
            &[(
                "proc/self/limits",
                "Max address space         unlimited            unlimited            bytes\n",
            )],
            MACHINE.0,
            MACHINE.1,
        ),
        (
            "version 2",
            "0::/system.slice/probity.service\n",
            V2,
            &[("sys/fs/cgroup/system.slice/probity.service/memory.max", "268435456\n")],
            256,
            "/sys/fs/cgroup/system.slice/probity.service/memory.max",
        ),
        (
            "version 2, the group above has less",
            "0::/a/b/c\n",
            V2,
            &[
                ("sys/fs/cgroup/a/memory.max", "134217728\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/c/memory.max", "268435456\n"),
            ],
            128,
            "/sys/fs/cgroup/a/memory.max",
        ),
        (
            "version 2, no limit",
            "0::/a\n",
            V2,
            &[("sys/fs/cgroup/a/memory.max", "max\n"), ("sys/fs/cgroup/a/memory.high", "max\n")],
            MACHINE.0,
            MACHINE.1,
        ),
        (
            "version 2, slowed down before it is killed",
            "0::/a\n",
            V2,
            &[("sys/fs/cgroup/a/memory.max", "268435456\n"), ("sys/fs/cgroup/a/memory.high", "201326592\n")],
            192,
            "/sys/fs/cgroup/a/memory.high",
        ),
        (
            "version 2, in a container with a name space of its own",
            "0::/\n",
            V2,
            &[("sys/fs/cgroup/memory.max", "536870912\n")],
            512,
            "/sys/fs/cgroup/memory.max",
        ),
        (
            "version 2, outside of what is mounted",
            "0::/../other\n",
            V2,
            &[("sys/fs/cgroup/memory.max", "536870912\n"), ("sys/fs/other/memory.max", "1048576\n")],
            512,
            "/sys/fs/cgroup/memory.max",
        ),
        (
            "version 1",
            "4:cpu,cpuacct:/x\n3:memory:/docker/1f\n0::/\n",
            V1,
            &[
                ("sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes", "268435456\n"),
                ("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", NONE_IN_V1),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", NONE_IN_V1),
                ("sys/fs/cgroup/cpu/x/memory.limit_in_bytes", "1\n"),
            ],
            256,
            "/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes",
        ),
        (
            "version 1, in a container: the host's path, of which a part is mounted",
            "3:hugetlb,memory:/docker/1f\n",
            "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            &[("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n")],
            256,
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ),
        (
            "version 1, no limit",
            "3:memory:/a\n",
            V1,
            &[("sys/fs/cgroup/memory/a/memory.limit_in_bytes", NONE_IN_V1)],
            MACHINE.0,
            MACHINE.1,
        ),
        (
            "more than there is",
            "3:memory:/a\n",
            V1,
            &[("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "99999999999999999999999\n")],
            MACHINE.0,
            MACHINE.1,
        ),
        ("no files", "3:memory:/a\n0::/b\n", V1, &[], MACHINE.0, MACHINE.1),
        (
            "a mount point with a blank",
            "0::/\n",
            "30 23 0:26 / /my\\040groups rw - cgroup2 none rw\n",
            &[("my groups/memory.max", "1073741824\n")],
            1_024,
            "/my groups/memory.max",
        ),
        ("damaged", "0:\n::\nx", "30 23\n - cgroup2\n1 2 3 4 5 - cgroup2 x\n", &[], MACHINE.0, MACHINE.1),
    ];

    fn told(files: &[(&str, &str)]) -> Option<MemoryLimit> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        MemoryLimit::told_below(root.path())
    }

    #[test]
    fn the_smallest_limit_holds() {
        for (name, cgroup, mountinfo, files, mib, said_by) in CASES {
            let own = [
                ("proc/self/cgroup", *cgroup),
                ("proc/self/mountinfo", *mountinfo),
                ("proc/meminfo", MEMINFO),
            ];
            let limit = told(&[&own, *files].concat());
            let wanted = MemoryLimit { bytes: mib * MIB, said_by: said_by.into() };
            assert_eq!(limit, Some(wanted), "{name}");
        }
    }

    #[test]
    fn where_nothing_is_told_there_is_no_limit() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("proc/meminfo", "MemTotal: much\n")]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_some() {
        assert!(MemoryLimit::of_this_process().unwrap().bytes > MIB);
    }

    #[test]
    fn a_quarter_is_for_bodies_and_a_quarter_for_probes() {
        // Bytes of memory; bytes of bodies, probes.
        let cases = [
            (256 * MIB, 64 * MIB, 256),
            (512 * MIB, 128 * MIB, 512),
            (1_024 * MIB, 256 * MIB, 1_024),
            (16_384 * MIB, 256 * MIB, 16_384),
            (1, MIB, 1),
        ];
        for (bytes, bodies, probes) in cases {
            let limit = MemoryLimit { bytes, said_by: PathBuf::new() };
            assert_eq!((limit.body_memory(), limit.max_concurrency()), (bodies, probes), "{bytes}");
        }
    }
}
