//! `[[tests]]` of a pipeline file: responses that are written down, judged by the pipeline's checks without
//! network, and compared with what must come of them.

mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use text::{
    AnswerText, CheckExpectText, OutcomeExpectText, OutcomeText, StatusText, TestText, VerdictExpectText,
};

use crate::check::{Canned, CheckSet, MemoryState, Mismatch, Observed, StateStore};
use crate::clock::{Clock, UnixNanos};
use crate::config::{Code, Diagnostic, Diagnostics, Document, Level, Located, Place, did_you_mean};
use crate::model::{CheckStatus, Outcome, Target, Verdict, judge};

/// The target of a test that names none.
const MADE_UP: &str = "https://example.test/";

/// A test, checked.
#[derive(Debug)]
pub struct PipelineTest {
    /// What it shows, in words.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    before: Vec<Arc<Observed>>,
    observed: Arc<Observed>,
    outcome: Option<Outcome>,
    checks: BTreeMap<String, CheckExpectText>,
}

/// What came of a test.
#[derive(Debug)]
pub struct TestReport {
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// What the checks said, in the order of the pipeline file.
    pub verdicts: Vec<Verdict>,
    /// How that differs from what must come of it; empty where it does not.
    pub mismatches: Vec<Mismatch>,
    /// How long it took.
    pub duration: Duration,
}

/// What the tests of a pipeline are about.
pub(super) struct Tested<'a> {
    /// The targets that the file names.
    pub(super) targets: &'a [Arc<Target>],
    /// Whether there may be more of them.
    pub(super) has_more_targets: bool,
    /// The checks.
    pub(super) checks: &'a CheckSet,
    /// The method of requests.
    pub(super) method: &'a http::Method,
    /// Whether what stands in the file is wrong by itself: then what seems to be missing may just be wrong.
    pub(super) is_wrong: bool,
    /// Whether the files that hold bodies are read, for tests that are to be run.
    pub(super) with_files: bool,
}

/// Checks all tests of a file; tells everything that is wrong with them.
pub(super) fn tests(
    texts: &[Located<TestText>],
    tested: &Tested<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Vec<PipelineTest> {
    texts.iter().filter_map(|text| test(text, tested, document, diagnostics)).collect()
}

fn test(
    text: &Located<TestText>,
    tested: &Tested<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<PipelineTest> {
    let place = text.place(document);
    let TestText { name, target, started_at, before, response, failure, expect } = &text.value;
    let problems = diagnostics.count(Level::Error);
    let target = self::target(target.as_ref(), tested, document, diagnostics);
    let started_at = moment(started_at, document, diagnostics);
    let mut canned =
        |text: &Located<AnswerText>| text.value.response(tested.with_files).canned(document, diagnostics);
    let before: Vec<_> = before.iter().filter_map(&mut canned).collect();
    let last = match response {
        Some(response) => canned(response),
        None => Some(Canned::default()),
    };
    if failure.is_none() && !tested.is_wrong {
        needs_status(response.as_ref(), &place, document, diagnostics);
    }
    expectation(expect, tested, document, diagnostics);
    let (target, started_at, mut last) = (target?, started_at?, last?);
    if let Some(failure) = failure {
        last = last.failed(failure.0);
    }
    let observed = |canned: Canned| {
        Arc::new(canned.requested_by(tested.method.clone()).observed(Arc::clone(&target), started_at))
    };
    let checked = PipelineTest {
        name: name.clone(),
        place,
        before: before.into_iter().map(observed).collect(),
        observed: observed(last),
        outcome: expect.value.outcome.map(Outcome::from),
        checks: expect.value.checks.iter().map(|(name, text)| (name.clone(), text.value.clone())).collect(),
    };
    (diagnostics.count(Level::Error) == problems).then_some(checked)
}

/// Tells of a test that shows nothing: where the attempt has not failed there is a response, with a status.
fn needs_status(
    response: Option<&Located<AnswerText>>,
    test: &Place,
    document: &Document,
    diagnostics: &mut Diagnostics,
) {
    let (place, message, hint) = match response {
        None => (
            test.clone(),
            "a test has a response, or a failure",
            "add response = { status = 200 }, or failure = \"connect_refused\"",
        ),
        Some(response) if response.value.status.is_none() => (
            response.place(document),
            "a response has a status",
            "add status = 200; where there is no whole response, say why: failure = \"timeout\"",
        ),
        Some(_) => return,
    };
    diagnostics.add(Diagnostic::error(Code::MissingKey, place, message).hint(hint));
}

fn target(
    name: Option<&Located<String>>,
    tested: &Tested<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<Target>> {
    let made_up = |name: &str| {
        let labels = Arc::from([]);
        Some(Arc::new(Target { name: name.into(), url: MADE_UP.into(), labels, every: None }))
    };
    let Some(name) = name else { return made_up(MADE_UP) };
    let found = tested.targets.iter().find(|target| *target.name == *name.value);
    if found.is_some() || tested.has_more_targets {
        return found.cloned().or_else(|| made_up(&name.value));
    }
    let message = format!("there is no target \"{}\" in this pipeline", name.value);
    let hint = match did_you_mean(&name.value, tested.targets.iter().map(|target| &*target.name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "leave it out for a made-up target".to_owned(),
    };
    diagnostics.add(Diagnostic::error(Code::BadValue, name.place(document), message).hint(hint));
    None
}

/// Tells of an expectation that can never be met, or that expects nothing.
fn expectation(
    expect: &Located<OutcomeExpectText>,
    tested: &Tested<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) {
    let OutcomeExpectText { outcome, checks } = &expect.value;
    if outcome.is_none() && checks.is_empty() && !tested.is_wrong {
        let message = "a test expects an outcome, or what checks say";
        let hint = "add outcome = \"up\", or checks = { status = \"pass\" }";
        let diagnostic = Diagnostic::error(Code::MissingKey, expect.place(document), message);
        diagnostics.add(diagnostic.hint(hint));
    }
    let known = || tested.checks.checks().iter().map(|check| &*check.spec().name);
    for (name, text) in checks {
        if known().any(|check| check == name) {
            continue;
        }
        let message = format!("there is no check \"{name}\" in this pipeline");
        let hint = match did_you_mean(name, known()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("its checks are: {}", known().collect::<Vec<_>>().join(", ")),
        };
        diagnostics.add(Diagnostic::error(Code::BadValue, text.place(document), message).hint(hint));
    }
}

/// A date of RFC 3339 since 1970.
fn moment(text: &Located<String>, document: &Document, diagnostics: &mut Diagnostics) -> Option<UnixNanos> {
    let date = text.value.parse::<jiff::Timestamp>().ok();
    let nanos = date.and_then(|date| i64::try_from(date.as_nanosecond()).ok()).filter(|nanos| *nanos >= 0);
    if nanos.is_none() {
        let message = "a date since 1970 is wanted here";
        let problem = Diagnostic::error(Code::BadValue, text.place(document), message);
        diagnostics.add(problem.hint("write it as RFC 3339 does: started_at = \"2026-11-22T10:00:00Z\""));
    }
    nanos.map(UnixNanos)
}

impl PipelineTest {
    /// Has the checks judge what the test shows, with a memory of their own. Blocks for as long as their
    /// limits allow.
    pub fn judge(&self, checks: &CheckSet, clock: &Clock) -> TestReport {
        let began = clock.now();
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::default());
        for observed in &self.before {
            checks.judge_with(observed, clock, &state).commit_state();
        }
        let verdicts = checks.judge_with(&self.observed, clock, &state).commit_state();
        let outcome = judge(&self.observed.exchange, &verdicts);
        let mismatches = self.compare(outcome, &verdicts);
        TestReport { outcome, verdicts, mismatches, duration: clock.now().saturating_duration_since(began) }
    }

    fn compare(&self, outcome: Outcome, verdicts: &[Verdict]) -> Vec<Mismatch> {
        let mut all = Vec::new();
        if let Some(wanted) = self.outcome.filter(|wanted| *wanted != outcome) {
            all.push(Mismatch::new("outcome", wanted.as_str(), because(outcome, verdicts)));
        }
        for (name, expected) in &self.checks {
            let verdict = verdicts.iter().find(|verdict| *verdict.check_name == **name);
            let (status, message, metrics) = match expected {
                CheckExpectText::Status(status) => (Some(*status), None, None),
                CheckExpectText::Table(VerdictExpectText { status, message, metrics }) => {
                    (*status, message.as_ref(), Some(metrics))
                }
            };
            let what = format!("checks.{name}");
            if let Some(StatusText(wanted)) = status
                && wanted != verdict.map(|verdict| verdict.status)
            {
                all.push(Mismatch::new(&what, status_word(wanted), in_words(verdict)));
                continue;
            }
            let got = verdict.map_or("not called", |verdict| verdict.message.as_str());
            if let Some(wanted) = message.filter(|wanted| *wanted != got) {
                all.push(Mismatch::new(&format!("{what}.message"), wanted.as_str(), got));
            }
            for (name, wanted) in metrics.into_iter().flatten() {
                let told = verdict.into_iter().flat_map(|verdict| &verdict.metrics);
                // The last value of a name counts.
                let got = told.rev().find(|(told, _)| told == name).map(|(_, value)| *value);
                if got != Some(*wanted) {
                    let got = got.map_or_else(|| "nothing".to_owned(), |got| got.to_string());
                    all.push(Mismatch::new(&format!("{what}.metrics.{name}"), wanted.to_string(), got));
                }
            }
        }
        all
    }
}

/// An outcome, and which check makes it so.
fn because(outcome: Outcome, verdicts: &[Verdict]) -> String {
    let deciding = verdicts.iter().find(|verdict| verdict.outcome() == outcome && outcome != Outcome::Up);
    match deciding {
        Some(verdict) => format!("{} ({}: {})", outcome.as_str(), verdict.check_name, verdict.message),
        None => outcome.as_str().to_owned(),
    }
}

fn status_word(status: Option<CheckStatus>) -> &'static str {
    status.map_or("not_called", CheckStatus::as_str)
}

fn in_words(verdict: Option<&Verdict>) -> String {
    match verdict {
        Some(verdict) => format!("{} ({})", verdict.status.as_str(), verdict.message),
        None => status_word(None).to_owned(),
    }
}
