//! Keeps the targets of a `listing` up to date: all of its items, each new one once, or each new one for a while.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use url::Url;

use super::document::{Document, Documents};
use super::health::{Health, shown_item};
use super::kept::Kept;
use super::plan::{ListingPlan, OnlyNew};
use super::seen::{Found, Key, Seen, key_of};
use super::{Receipt, Supplied, SupplyContext, Updates};
use crate::clock::UnixNanos;
use crate::config::parse_duration;
use crate::model::Target;
use crate::sink::ResultMark;
use crate::source::{ListedItem, Listing, Problems, next_of_links, printable_url, with_parameter};

/// How many new items are handed over at once.
const BATCH: usize = 1_000;
/// How often it is looked whether rows are finished; a journal is written every 100 ms.
const LOOK_AT_ROWS: Duration = Duration::from_millis(50);
/// How many batches may be on their way at the same time.
const MOST_PENDING: usize = 16;

/// A listing that is followed.
pub(super) struct Follow<'p> {
    plan: &'p ListingPlan,
    context: &'p SupplyContext,
    updates: &'p Updates,
    documents: Documents<'p>,
    health: Health,
    /// What was given last where all items are.
    given: Option<Vec<Arc<Target>>>,
    has_looked: bool,
    memory: Memory,
    /// New items on their way, by batch, and whether they got through.
    pending: JoinSet<(bool, Vec<Key>)>,
}

/// What is remembered of new items.
struct Memory {
    seen: Seen,
    kept: Kept,
    /// Nothing was remembered when the source started, and nothing was seen since.
    is_first: bool,
}

impl<'p> Follow<'p> {
    /// Reads what was seen before.
    pub(super) async fn open(
        plan: &'p ListingPlan,
        context: &'p SupplyContext,
        updates: &'p Updates,
    ) -> Self {
        let mut health = Health::new(&context.pipeline, &plan.document);
        let memory = match &plan.only_new {
            Some(only_new) => Memory::open(only_new, context, &mut health).await,
            None => Memory { seen: Seen::in_memory(), kept: Kept::default(), is_first: true },
        };
        Self {
            plan,
            context,
            updates,
            documents: Documents::new(&plan.document, context),
            health,
            given: None,
            has_looked: false,
            memory,
            pending: JoinSet::new(),
        }
    }

    /// Looks again and again; after one look, if that was asked for. May be dropped at any await.
    pub(super) async fn run(&mut self) {
        let clock = self.context.clock.clone();
        if self.memory.kept.expire(clock.wall()) || self.memory.kept.len() > 0 {
            self.give_kept().await;
        }
        let mut next = clock.now();
        loop {
            let end = self.memory.kept.next_end(clock.wall()).map(|after| clock.now() + after);
            tokio::select! {
                () = sleep_until(next) => {
                    let began = clock.now();
                    let was_good = self.look().await;
                    if self.context.once {
                        self.updates.give(Supplied::Ended, None).await;
                        return;
                    }
                    let now = clock.now();
                    next = now + self.documents.pause(was_good, now.duration_since(began));
                }
                Some(settled) = self.pending.join_next() => self.settled(settled.ok()).await,
                () = sleep_until(end.unwrap_or(next)), if end.is_some() => {
                    if self.memory.kept.expire(clock.wall()) {
                        self.give_kept().await;
                        self.write_kept().await;
                    }
                }
            }
        }
    }

    /// Waits until all that was handed over is through or given up, and remembers it.
    pub(super) async fn settle(&mut self) {
        while let Some(settled) = self.pending.join_next().await {
            self.settled(settled.ok()).await;
        }
    }

    /// Fetches the listing and hands over what is new in it; whether it could be read.
    async fn look(&mut self) -> bool {
        match self.pages().await {
            Ok(Some((items, problems))) => {
                self.health.good(items.len(), &problems, shown_item);
                match &self.plan.only_new {
                    None => self.give_all(items).await,
                    Some(only_new) => self.give_new(only_new, items).await,
                }
                self.has_looked = true;
                true
            }
            Ok(None) => {
                self.health.unchanged();
                true
            }
            Err(why) => {
                self.health.failed(why, self.has_looked);
                false
            }
        }
    }

    /// The items of all pages; none where nothing has changed.
    async fn pages(&mut self) -> Result<Option<(Vec<ListedItem>, Problems)>, String> {
        let mut listing = Listing::new(Arc::clone(&self.plan.shape), parse_duration);
        let mut visited = HashSet::new();
        let mut url = self.plan.document.url.clone();
        for _ in 0..self.plan.max_pages {
            visited.insert(url.clone());
            let Some(document) = self.documents.get(&url).await? else { return Ok(None) };
            let (read, next, document) = read(listing, document).await?;
            listing = read;
            // Of several pages, one alone may have changed.
            if self.plan.max_pages == 1 {
                self.documents.took(&document);
                break;
            }
            let Some(next) = next.or_else(|| self.linked(&document)) else { break };
            url = self.next_url(&document, &next)?;
            if visited.contains(&url) {
                listing.problem("behind it, the listing leads back to a page that was read".to_owned());
                break;
            }
        }
        Ok(Some(listing.finish()))
    }

    fn linked(&self, document: &Document) -> Option<String> {
        if self.plan.shape.next.is_some() {
            return None;
        }
        next_of_links(document.links.iter().map(String::as_str))
    }

    fn next_url(&self, document: &Document, next: &str) -> Result<Url, String> {
        let listing = &self.plan.document.url;
        if let Some(parameter) = &self.plan.page_param {
            return Ok(with_parameter(listing, parameter, next));
        }
        let mut url = document.base.join(next).map_err(|_| {
            "what it says of its next page is no URL; is it the value of a parameter, \"page_param\"?"
                .to_owned()
        })?;
        url.set_fragment(None);
        // Whoever writes the listing must not say who gets the headers.
        if url.origin() != listing.origin() {
            return Err(format!(
                "its next page \"{}\" is of another origin than \"url\", and is not asked for",
                printable_url(url.as_str())
            ));
        }
        Ok(url)
    }

    async fn give_all(&mut self, items: Vec<ListedItem>) {
        let targets = distinct(items.into_iter().map(|item| item.target));
        if self.given.as_ref() != Some(&targets)
            && self.updates.give(Supplied::Replace(targets.clone()), None).await
        {
            self.given = Some(targets);
        }
    }

    /// Hands over what was not seen before, the oldest first: listings begin with the newest.
    async fn give_new(&mut self, only_new: &OnlyNew, items: Vec<ListedItem>) {
        let now = self.now();
        let listed: Vec<Key> = items.iter().map(|item| key_of(&item.id)).collect();
        let is_first = std::mem::take(&mut self.memory.is_first);
        if is_first && only_new.skip_first {
            return self.remember(&listed).await;
        }
        let stale = self.memory.seen.listed(&listed, now);
        let is_new = |key: &Key| self.memory.seen.is_new(key);
        let new: Vec<(Key, Arc<Target>)> = listed
            .into_iter()
            .zip(items)
            .rev()
            .filter(|(key, _)| is_new(key))
            .map(|(key, item)| (key, item.target))
            .collect();
        match only_new.keep_for {
            Some(length) if !new.is_empty() => self.keep(new, length).await,
            Some(_) => {}
            None => self.hand_over(new).await,
        }
        // Also where nothing was new: the file says that there was a first look.
        if is_first || !stale.is_empty() {
            self.remember(&stale).await;
        }
    }

    /// New items are probed for a while.
    async fn keep(&mut self, new: Vec<(Key, Arc<Target>)>, length: Duration) {
        let until = self.context.clock.wall().plus(length);
        let (keys, targets): (Vec<Key>, Vec<Arc<Target>>) = new.into_iter().unzip();
        self.memory.kept.add(targets, until);
        if self.give_kept().await {
            // They are seen once they are kept, so that a kill loses none.
            self.write_kept().await;
            self.remember(&keys).await;
        }
    }

    /// New items are probed once.
    async fn hand_over(&mut self, new: Vec<(Key, Arc<Target>)>) {
        let now = self.now();
        for batch in new.chunks(BATCH) {
            while self.pending.len() >= MOST_PENDING {
                let settled = self.pending.join_next().await;
                self.settled(settled.and_then(Result::ok)).await;
            }
            let keys: Vec<Key> = batch.iter().map(|(key, _)| *key).collect();
            let targets = distinct(batch.iter().map(|(_, target)| Arc::clone(target)));
            let (receipt, probed) = Receipt::new();
            if !self.updates.give(Supplied::Once(targets), Some(receipt)).await {
                return;
            }
            for key in &keys {
                self.memory.seen.hand_over(*key, now);
            }
            self.pending.spawn(async move { (are_finished(probed).await, keys) });
        }
    }

    /// A batch has come to its end. What did not get through is offered again by the next look.
    async fn settled(&mut self, settled: Option<(bool, Vec<Key>)>) {
        match settled {
            Some((true, keys)) => self.remember(&keys).await,
            Some((false, keys)) => keys.iter().for_each(|key| self.memory.seen.take_back(key)),
            None => {}
        }
    }

    async fn give_kept(&mut self) -> bool {
        self.updates.give(Supplied::Replace(self.memory.kept.targets()), None).await
    }

    async fn remember(&mut self, keys: &[Key]) {
        let now = self.now();
        let written = self.memory.seen.write(keys, now).await;
        self.tell(written);
    }

    async fn write_kept(&mut self) {
        let written = self.memory.kept.write().await;
        self.tell(written);
    }

    fn tell(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.health.remembers(),
            Err(error) => self.health.forgets(&error),
        }
    }

    fn now(&self) -> u32 {
        seconds(self.context.clock.wall())
    }
}

impl Memory {
    async fn open(only_new: &OnlyNew, context: &SupplyContext, health: &mut Health) -> Self {
        let folder: Option<PathBuf> = context.seen.as_ref().map(|seen| seen.join(context.pipeline.as_ref()));
        let path =
            |ending: &str| folder.as_ref().map(|folder| folder.join(&only_new.store).with_extension(ending));
        let (seen_path, kept_path) = (path("seen"), path("kept"));
        let keeps = only_new.keep_for.is_some();
        let now = seconds(context.clock.wall());
        let work = move || {
            let opened = Seen::open(seen_path.as_deref(), now);
            let kept = if keeps { Kept::open(kept_path.as_deref()) } else { Kept::default() };
            (opened, kept)
        };
        let (opened, kept) = match tokio::task::spawn_blocking(work).await {
            Ok(read) => read,
            Err(error) => (Err(io::Error::other(error)), Kept::default()),
        };
        let (seen, found) = opened.unwrap_or_else(|error| {
            health.forgets(&error);
            (Seen::in_memory(), Found::Damaged)
        });
        if found == Found::Damaged {
            tracing::warn!(
                pipeline = %context.pipeline,
                "what was seen of a listing cannot be read; all that it has now counts as new"
            );
        }
        // Where the memory is lost, better twice than not at all: nothing is skipped.
        Self { seen, kept, is_first: found == Found::Nothing }
    }
}

fn seconds(moment: UnixNanos) -> u32 {
    u32::try_from(moment.seconds().max(1)).unwrap_or(u32::MAX)
}

/// Waits until the rows of a batch are finished, so that not even a kill loses them; false if there are none.
async fn are_finished(probed: oneshot::Receiver<Option<ResultMark>>) -> bool {
    let Ok(mark) = probed.await else { return false };
    if let Some(mark) = mark {
        while !mark.is_finished() {
            sleep(LOOK_AT_ROWS).await;
        }
    }
    true
}

/// Each name once.
fn distinct(targets: impl Iterator<Item = Arc<Target>>) -> Vec<Arc<Target>> {
    let mut names = HashSet::new();
    targets.filter(|target| names.insert(Arc::clone(&target.name))).collect()
}

/// Reading a long page takes a while: not on the threads of I/O.
async fn read(
    mut listing: Listing,
    document: Document,
) -> Result<(Listing, Option<String>, Document), String> {
    let work = move || {
        let next = listing.read_page(&document.bytes, document.content_type.as_deref(), &document.base);
        (next, listing, document)
    };
    let (next, listing, document) =
        tokio::task::spawn_blocking(work).await.map_err(|_| "reading it failed by a fault of the runner")?;
    Ok((listing, next?, document))
}
