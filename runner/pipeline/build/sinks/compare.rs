//! Holds the sinks of all pipelines against each other.

use std::path::PathBuf;

use super::{Built, ParquetPlan};
use crate::config::{Code, Diagnostic, Diagnostics, Place};

/// Pipelines that write to one folder share its files, so they must agree on how; and no results folder
/// lies in another, since nothing but results may be below one. A pipeline that does not fit to one before
/// it is taken out; so is one that would share the standard input with one before it.
pub(crate) fn compare<B: AsRef<Built>>(built: &mut Vec<B>, diagnostics: &mut Diagnostics) {
    super::super::targets::one_stdin(built, diagnostics);
    let mut plans: Vec<ParquetPlan> = Vec::new();
    let mut files: Vec<(PathBuf, Place)> = Vec::new();
    built.retain(|pipeline| {
        let pipeline = pipeline.as_ref();
        let letters = pipeline.dead_letter.as_ref().map(|plan| (&plan.path, &plan.place));
        let lines = pipeline.sinks.jsonl.as_ref().map(|plan| (&plan.path, &plan.place));
        for (path, place) in letters.into_iter().chain(lines) {
            if let Some((_, other)) = files.iter().find(|(other, _)| other == path) {
                let message = format!("two files of lines are one: \"{}\"", path.display());
                let problem = Diagnostic::error(Code::Conflict, place.clone(), message);
                diagnostics.add(
                    problem.also("the other one is here", other.clone()).hint("give each a path of its own"),
                );
                return false;
            }
            files.push((path.clone(), place.clone()));
        }
        let Some(plan) = &pipeline.sinks.parquet else { return true };
        let problem = plans.iter().find_map(|other| disagreement(plan, other));
        if let Some(problem) = problem {
            diagnostics.add(problem);
            return false;
        }
        plans.push(plan.clone());
        true
    });
}

/// Why two Parquet sinks cannot stand side by side, if so.
fn disagreement(plan: &ParquetPlan, other: &ParquetPlan) -> Option<Diagnostic> {
    let path = plan.path.display();
    let (message, hint) = if plan.path == other.path {
        if plan.bucket != other.bucket {
            let hint =
                "give both the same bucket with the same settings, or one of them another folder, with local";
            (format!("two pipelines write to \"{path}\", and not both to the same bucket"), hint)
        } else if plan.rotate == other.rotate && plan.fsync == other.fsync && plan.keep == other.keep {
            return None;
        } else {
            let hint = "give both the same rotate, fsync and keep, or one of them another path";
            (format!("two pipelines write to \"{path}\" with different settings"), hint)
        }
    } else if plan.path.starts_with(&other.path) || other.path.starts_with(&plan.path) {
        let hint = "put the folders side by side: a results folder holds nothing but its own files";
        (format!("the results folder \"{path}\" and another one lie in each other"), hint)
    } else {
        return None;
    };
    let problem = Diagnostic::error(Code::Conflict, plan.place.clone(), message);
    Some(problem.also("the other one is here", other.place.clone()).hint(hint))
}
