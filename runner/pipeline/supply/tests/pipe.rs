//! `stdin`: lines of a pipe, from a reader of the test's own.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::pipeline::supply::stdin::{follow, read_lines};

/// Starts a source on a reader.
fn start(reader: impl Read + Send + 'static) -> (mpsc::Receiver<SupplyUpdate>, JoinHandle<()>) {
    let (sender, updates) = mpsc::channel(1);
    let context = SupplyContext {
        pipeline: "shop".into(),
        fetcher: Fetcher::new(&FetcherConfig::default()).unwrap(),
        clock: Clock::system(),
        seen: None,
        once: true,
    };
    let pipe = read_lines(reader);
    let task = spawn("supply", async move {
        let updates = Updates { source: 3, sender };
        follow(pipe, &[], &context, &updates).await;
    });
    (updates, task)
}

async fn next(updates: &mut mpsc::Receiver<SupplyUpdate>) -> SupplyUpdate {
    timeout(PATIENCE, updates.recv()).await.expect("an update in time").expect("an update")
}

#[tokio::test]
async fn every_line_comes_once_in_order_and_the_end_is_told() {
    let text = (0..2_000).map(|number| format!("http://a/{number}\nnot a url {number}\n\n"));
    let text = text.collect::<Vec<_>>().concat();
    let (mut updates, task) = start(io::Cursor::new(text));
    let mut urls = Vec::new();
    loop {
        let update = next(&mut updates).await;
        assert_eq!(update.source, 3);
        match update.supplied {
            Supplied::Once(targets) => urls.extend(targets.into_iter().map(|target| target.url.to_string())),
            Supplied::Ended => break,
            Supplied::Replace(_) => panic!("lines never replace others"),
        }
    }
    let expected: Vec<String> = (0..2_000).map(|n| format!("http://a/{n}")).collect();
    assert_eq!(urls, expected);
    timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_line_comes_at_once_while_the_pipe_stays_open() {
    let (reader, mut writer) = io::pipe().unwrap();
    let (mut updates, _task) = start(reader);
    for number in 0..3 {
        writeln!(writer, "http://a/{number}").unwrap();
        let Supplied::Once(targets) = next(&mut updates).await.supplied else { panic!("a target") };
        assert_eq!(targets[0].url.as_ref(), format!("http://a/{number}"));
    }
    drop(writer);
    assert!(matches!(next(&mut updates).await.supplied, Supplied::Ended));
}

/// Endless lines, counted.
struct Endless(Arc<AtomicUsize>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = b"http://a/x\n";
        buffer[..line.len()].copy_from_slice(line);
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(line.len())
    }
}

#[tokio::test]
async fn the_pipe_waits_while_nobody_takes() {
    let read = Arc::new(AtomicUsize::new(0));
    let (mut updates, task) = start(Endless(Arc::clone(&read)));
    next(&mut updates).await;
    let mut before = 0;
    // It stands still once everything in between is full.
    timeout(PATIENCE, async {
        while read.load(Ordering::SeqCst) != before || before == 0 {
            before = read.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    assert!(before < 2_000, "{before} lines were read ahead");
    drop(updates);
    task.abort();
}
