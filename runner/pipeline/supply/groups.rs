//! Keeps the targets of an `http_sd` source up to date.

use std::sync::Arc;

use super::document::{Document, Documents};
use super::health::{Health, shown};
use super::plan::DocumentPlan;
use super::{Supplied, SupplyContext, Updates};
use crate::config::parse_duration;
use crate::model::Target;
use crate::source::{Loaded, read_groups};

/// Fetches the document again and again, and tells of what has changed. Ends when nobody listens any more, or after
/// the first one if that was asked for.
pub(super) async fn follow(plan: &DocumentPlan, context: &SupplyContext, updates: &Updates) {
    let mut documents = Documents::new(plan, context);
    let mut health = Health::new(&context.pipeline, plan);
    let mut given: Option<Vec<Arc<Target>>> = None;
    loop {
        let began = context.clock.now();
        let was_good = match look(&mut documents, plan).await {
            Ok(Some(loaded)) => {
                let targets: Vec<Arc<Target>> = loaded.targets.into_iter().map(Arc::new).collect();
                health.good(targets.len(), &loaded.problems, shown);
                if given.as_ref() != Some(&targets) {
                    if !updates.give(Supplied::Replace(targets.clone()), None).await {
                        return;
                    }
                    given = Some(targets);
                }
                true
            }
            Ok(None) => {
                health.unchanged();
                true
            }
            Err(why) => {
                health.failed(why, given.is_some());
                false
            }
        };
        if context.once {
            updates.give(Supplied::Ended, None).await;
            return;
        }
        let pause = documents.pause(was_good, context.clock.now().duration_since(began));
        tokio::time::sleep(pause).await;
    }
}

/// Fetches and reads the document; none where it has not changed.
async fn look(documents: &mut Documents<'_>, plan: &DocumentPlan) -> Result<Option<Loaded>, String> {
    let Some(document) = documents.get(&plan.url).await? else { return Ok(None) };
    let (read, document) = read(document).await?;
    documents.took(&document);
    Ok(Some(read))
}

/// Reading a long document takes a while: not on the threads of I/O.
async fn read(document: Document) -> Result<(Loaded, Document), String> {
    let work = move || {
        let read = read_groups(&document.bytes, document.base.as_str(), parse_duration);
        (read, document)
    };
    let (read, document) =
        tokio::task::spawn_blocking(work).await.map_err(|_| "reading it failed by a fault of the runner")?;
    match read {
        Ok(loaded) => Ok((loaded, document)),
        Err(problem) => Err(shown(&problem)),
    }
}
