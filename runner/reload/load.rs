//! Builds what has changed, and nothing else: the files as they are now become pipelines, or problems.
//!
//! A pipeline is built again if anything that it is made from has another content. Where it comes out as
//! it was, or wrong, the one that runs goes on. What is built is held against the files once more
//! afterwards, so that no generation is made of two readings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::prints::{Print, Printed, Prints};
use crate::clock::Clock;
use crate::config::{Code, Diagnostics};
use crate::pipeline::{self, Built, PipelineFile, RunnerSettings, Workshop, attempt, compare};

/// A pipeline is built at most so often for one reload: its files may change meanwhile.
const READINGS: usize = 4;

/// A load that took this long is told, so that nobody wonders.
const WORTH_TELLING_MS: u64 = 1_000;

/// Builds the pipelines of some paths, again and again.
pub struct Loader {
    paths: Vec<PathBuf>,
    workshop: Arc<Workshop>,
    clock: Clock,
    prints: Prints,
    /// By name.
    files: BTreeMap<Arc<str>, Known>,
    /// What the paths themselves were like.
    roots: Printed,
}

/// What is known of one pipeline file.
struct Known {
    file: PipelineFile,
    /// Which of the paths named it.
    root: usize,
    /// What it is made from, as it was read.
    inputs: Printed,
    /// The generation that runs; none if none does.
    runs: Option<Arc<Built>>,
    /// The warnings that were told of it: those that stay are not told again.
    told: Vec<(Code, String)>,
    /// Whether the file as it is now cannot be run.
    is_wrong: bool,
    /// Whether it is right by itself and did not fit to the others: tried again with every load.
    is_refused: bool,
}

/// What a load came to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Pipelines that are new, or have another generation.
    pub next: Vec<Arc<Built>>,
    /// Pipelines whose file is gone.
    pub gone: Vec<Arc<str>>,
    /// All problems that were found in what was read.
    pub diagnostics: Diagnostics,
    /// Pipelines whose files did not hold still.
    pub unstable: Vec<Arc<str>>,
    /// Paths that have no pipelines at present: what came from them goes on.
    pub missing: Vec<PathBuf>,
    /// What holds for all pipelines; none where the runner's own file is wrong.
    pub settings: Option<RunnerSettings>,
    /// Pipelines that were read and are as before.
    pub same: usize,
}

impl Loader {
    /// Nothing is read so far.
    pub fn new(paths: Vec<PathBuf>, workshop: Arc<Workshop>, clock: &Clock) -> Self {
        Self {
            paths,
            workshop,
            clock: clock.clone(),
            prints: Prints::default(),
            files: BTreeMap::new(),
            roots: Printed::new(),
        }
    }

    /// Whether anything is not as it was read last. Blocks on files.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = self.clock.wall();
        let Self { prints, roots, files, .. } = self;
        let mut same =
            |printed: &Printed| printed.iter().all(|(path, print)| prints.one(path, now) == *print);
        !(same(roots) && files.values().all(|known| same(&known.inputs)))
    }

    /// What everything is at this moment: to see whether it holds still.
    pub(super) fn look(&mut self) -> Printed {
        let paths: BTreeSet<_> = self.watched().cloned().collect();
        self.prints.of(&paths, self.clock.wall())
    }

    /// Everything that is looked at.
    pub(super) fn watched(&self) -> impl Iterator<Item = &PathBuf> {
        self.roots.keys().chain(self.files.values().flat_map(|known| known.inputs.keys()))
    }

    /// The pipelines that are as they are in these prints, but gone in those.
    pub(super) fn are_gone(&self, look: &Printed) -> bool {
        self.files.values().any(|known| look.get(&known.file.path) == Some(&Print::Missing))
    }

    /// Reads and builds what has changed. Blocks, for seconds where plugins are compiled.
    pub fn load(&mut self) -> Loaded {
        let began = self.clock.now();
        let mut loaded = Loaded::default();
        // Whatever is wrong there is told with the pipelines, each of which reads it.
        let mut told = Diagnostics::default();
        let settings = pipeline::settings(&self.paths, &mut told);
        loaded.settings = (!told.has_errors()).then_some(settings);
        let found = self.find(&mut loaded);
        let mut seen = BTreeSet::new();
        for (root, file) in found {
            seen.insert(Arc::clone(&file.name));
            self.load_one(root, file, &mut loaded);
        }
        let missing = self.missing_roots(&loaded);
        // Those that go on though there is nothing: held against that from now on.
        let now = self.clock.wall();
        for known in self.files.values_mut() {
            if missing.contains(&known.root) && !seen.contains(&known.file.name) {
                known.inputs = self.prints.of(known.inputs.keys(), now);
            }
        }
        let goes = |known: &Known| !seen.contains(&known.file.name) && !missing.contains(&known.root);
        let gone: Vec<_> = self
            .files
            .values()
            .filter(|known| goes(known))
            .map(|known| Arc::clone(&known.file.name))
            .collect();
        for name in gone {
            if self.files.remove(&name).is_some_and(|known| known.runs.is_some()) {
                loaded.gone.push(name);
            }
        }
        self.refuse_conflicts(&mut loaded);
        let took_ms = self.clock.now().saturating_duration_since(began).as_millis() as u64;
        let files = self.files.len();
        if took_ms >= WORTH_TELLING_MS {
            tracing::info!(files, took_ms, "pipelines are read");
        } else {
            tracing::debug!(files, took_ms, "pipelines are read");
        }
        let watched: BTreeSet<PathBuf> = self.watched().cloned().collect();
        self.prints.keep(&watched);
        loaded
    }

    /// Notes that a generation runs.
    pub fn runs(&mut self, built: &Arc<Built>) {
        if let Some(known) = self.files.get_mut(&built.name) {
            known.runs = Some(Arc::clone(built));
        }
    }

    /// Notes that a generation could not be brought in.
    pub(super) fn refused(&mut self, name: &str) {
        if let Some(known) = self.files.get_mut(name) {
            (known.is_wrong, known.is_refused) = (true, true);
        }
    }

    /// The pipelines whose files as they are now cannot be run.
    pub(super) fn wrong(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.values().filter(|known| known.is_wrong).map(|known| &known.file.name)
    }

    fn find(&mut self, loaded: &mut Loaded) -> Vec<(usize, PipelineFile)> {
        // Before the folders are listed, so that what comes meanwhile is seen as a change.
        self.roots = self.prints.of(&self.paths, self.clock.wall());
        let mut all: Vec<(usize, PipelineFile)> = Vec::new();
        for (root, path) in self.paths.iter().enumerate() {
            let found = pipeline::find(std::slice::from_ref(path), &mut loaded.diagnostics);
            if found.is_empty() {
                loaded.missing.push(path.clone());
            }
            for file in found {
                match all.iter().find(|(_, known)| known.name == file.name) {
                    None => all.push((root, file)),
                    Some((_, first)) => pipeline::same_name(first, &file, &mut loaded.diagnostics),
                }
            }
        }
        all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        all
    }

    fn missing_roots(&self, loaded: &Loaded) -> Vec<usize> {
        (0..self.paths.len()).filter(|root| loaded.missing.contains(&self.paths[*root])).collect()
    }

    fn load_one(&mut self, root: usize, file: PipelineFile, loaded: &mut Loaded) {
        let now = self.clock.wall();
        let name = Arc::clone(&file.name);
        if let Some(known) = self.files.get_mut(&name)
            && known.file == file
            && !known.is_refused
            && known.inputs.iter().all(|(path, print)| self.prints.one(path, now) == *print)
        {
            known.root = root;
            loaded.same += usize::from(!known.is_wrong);
            return;
        }
        let known = self.files.remove(&name);
        let (inputs, runs, told) =
            known.map(|known| (known.inputs, known.runs, known.told)).unwrap_or_default();
        let Reading { built, mut diagnostics, inputs, is_stable } = self.read(&file, inputs);
        let warnings = diagnostics.warnings();
        diagnostics.leave_out(&told);
        loaded.diagnostics.absorb(diagnostics);
        if !is_stable {
            loaded.unstable.push(Arc::clone(&name));
        }
        let is_wrong = built.is_none();
        match (built, &runs) {
            (Some(built), Some(runs)) if built.is_same_as(runs) => loaded.same += 1,
            (Some(built), _) => loaded.next.push(Arc::new(built)),
            (None, _) => {}
        }
        self.files
            .insert(name, Known { file, root, inputs, runs, told: warnings, is_wrong, is_refused: false });
    }

    /// Builds a pipeline from files that hold still meanwhile.
    fn read(&mut self, file: &PipelineFile, inputs: Printed) -> Reading {
        let mut paths: BTreeSet<PathBuf> = inputs.into_keys().collect();
        paths.insert(file.path.clone());
        let mut readings = 0;
        loop {
            readings += 1;
            let began = self.clock.wall();
            let before = self.prints.of(&paths, began);
            let mut diagnostics = Diagnostics::default();
            let made = attempt(file, &self.workshop, &mut diagnostics);
            paths = made.inputs.into_iter().collect();
            let inputs = self.prints.of(&paths, self.clock.wall());
            let prints = &self.prints;
            let is_same = |(path, print): (&PathBuf, &Print)| match before.get(path) {
                Some(before) => before == print,
                // One that was not known before: right if it was there long before it was read.
                None => prints.is_older_than(path, began),
            };
            let is_stable = inputs.iter().all(is_same);
            if is_stable || readings >= READINGS {
                return Reading { built: made.built, diagnostics, inputs, is_stable };
            }
        }
    }

    /// Pipelines share folders and files; a new one that does not fit to those that are there is refused.
    fn refuse_conflicts(&mut self, loaded: &mut Loaded) {
        let stay = |known: &&Known| loaded.next.iter().all(|next| next.name != known.file.name);
        let mut fitting: Vec<_> =
            self.files.values().filter(stay).filter_map(|known| known.runs.clone()).collect();
        fitting.extend(loaded.next.iter().cloned());
        compare(&mut fitting, &mut loaded.diagnostics);
        let (next, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut loaded.next)
            .into_iter()
            .partition(|next| fitting.iter().any(|built| Arc::ptr_eq(built, next)));
        loaded.next = next;
        for built in refused {
            self.refused(&built.name);
        }
    }
}

/// What one pipeline's files came to.
struct Reading {
    built: Option<Built>,
    diagnostics: Diagnostics,
    inputs: Printed,
    is_stable: bool,
}
