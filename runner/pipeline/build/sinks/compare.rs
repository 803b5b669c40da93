//! Holds the sinks of all pipelines against each other.

use std::path::{Path, PathBuf};

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
        let mut own = Vec::new();
        for (path, place) in letters.into_iter().chain(lines) {
            if let Some((_, other)) = files.iter().chain(&own).find(|(other, _)| other == path) {
                let message = format!("two files of lines are one: \"{}\"", path.display());
                let problem = Diagnostic::error(Code::Conflict, place.clone(), message);
                diagnostics.add(
                    problem.also("the other one is here", other.clone()).hint("give each a path of its own"),
                );
                return false;
            }
            let inside = plans.iter().find(|plan| lie_in_each_other(path, &plan.path));
            if let Some(plan) = inside {
                diagnostics.add(lines_in_results(path, place, plan, &plan.place));
                return false;
            }
            own.push((path.clone(), place.clone()));
        }
        if let Some(plan) = &pipeline.sinks.parquet {
            let inside = files.iter().find(|(path, _)| lie_in_each_other(path, &plan.path));
            let problem = inside.map(|(path, place)| lines_in_results(path, &plan.place, plan, place));
            let problem = problem.or_else(|| plans.iter().find_map(|other| disagreement(plan, other)));
            if let Some(problem) = problem {
                diagnostics.add(problem);
                return false;
            }
            plans.push(plan.clone());
        }
        files.extend(own);
        true
    });
}

fn lie_in_each_other(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// A file of lines in the results folder of another pipeline, told of at `place`.
fn lines_in_results(path: &Path, place: &Place, plan: &ParquetPlan, other: &Place) -> Diagnostic {
    let (path, folder) = (path.display(), plan.path.display());
    let message = format!("the file of lines \"{path}\" cannot lie in the results folder \"{folder}\"");
    Diagnostic::error(Code::Conflict, place.clone(), message)
        .also("the other one is here", other.clone())
        .hint("put it beside the folder: a results folder holds nothing but its own files")
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
    } else if lie_in_each_other(&plan.path, &other.path) {
        let hint = "put the folders side by side: a results folder holds nothing but its own files";
        (format!("the results folder \"{path}\" and another one lie in each other"), hint)
    } else {
        return None;
    };
    let problem = Diagnostic::error(Code::Conflict, plan.place.clone(), message);
    Some(problem.also("the other one is here", other.place.clone()).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::{PipelineFile, Workshop, build};

    #[test]
    fn a_file_of_lines_lies_in_nobodys_results() {
        let folder = tempfile::tempdir().unwrap();
        let built = |name: &str, sinks: &str| {
            let path = folder.path().join(format!("{name}.toml"));
            let text = format!("[[sources]]\ntargets = [\"http://127.0.0.1:9/\"]\n{sinks}");
            std::fs::write(&path, text).unwrap();
            let mut diagnostics = Diagnostics::default();
            let built =
                build(&PipelineFile { name: name.into(), path }, &Workshop::new().unwrap(), &mut diagnostics);
            Arc::new(built.unwrap_or_else(|| panic!("{}", diagnostics.render(false))))
        };
        let results = built("results", "");
        let shop = |lines: &str| {
            let parquet = "[[sinks]]\ntype = \"parquet\"\npath = \"shop\"\n";
            built("shop", &format!("{parquet}[[sinks]]\ntype = \"jsonl\"\npath = \"{lines}\"\n"))
        };
        let stays = |pipelines: [&Arc<Built>; 2]| {
            let mut both: Vec<_> = pipelines.map(Arc::clone).into();
            compare(&mut both, &mut Diagnostics::default());
            both.len()
        };
        let inside = shop("results/x.jsonl");
        assert_eq!(stays([&results, &inside]), 1);
        assert_eq!(stays([&inside, &results]), 1);
        let beside = shop("lines/x.jsonl");
        assert_eq!(stays([&results, &beside]), 2);
        assert_eq!(stays([&beside, &results]), 2);
    }
}
