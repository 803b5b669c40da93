//! Targets listed in the pipeline file itself.

use super::collect::Collector;
use super::problem::{Place, SourceProblem};
use super::target::TargetText;

/// The `[[sources]]` table as a user would write it.
pub const LIST_SAMPLE: &str = include_str!("list.toml");

/// A source of type `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSource {
    /// The items of `targets`, in their order.
    pub targets: Vec<TargetText>,
    /// Where `targets` stands.
    pub place: Place,
}

impl ListSource {
    pub(super) fn read(&self, collector: &mut Collector) {
        if self.targets.is_empty() {
            let problem = SourceProblem::new(self.place.clone(), "no targets")
                .hint("list at least one URL, for example targets = [\"https://example.com/\"]");
            collector.problem(problem);
        }
        for target in &self.targets {
            collector.add(target.clone());
        }
    }
}
