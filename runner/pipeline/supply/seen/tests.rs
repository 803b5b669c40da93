//! The store of what was seen: restarts, kills in the middle of a write, damage, bounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use tempfile::TempDir;

use super::*;

const NOW: u32 = 1_800_000_000;

fn key(number: u32) -> Key {
    key_of(&format!("item {number}"))
}

fn keys(numbers: std::ops::Range<u32>) -> Vec<Key> {
    numbers.map(key).collect()
}

fn known(seen: &Seen, numbers: std::ops::Range<u32>) -> usize {
    numbers.filter(|number| !seen.is_new(&key(*number))).count()
}

#[tokio::test]
async fn what_was_written_is_known_after_a_restart_and_what_was_only_handed_over_is_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shop/x.seen");
    let (mut seen, found) = Seen::open(Some(&path), NOW).unwrap();
    assert_eq!(found, Found::Nothing);
    seen.write(&keys(0..10), NOW).await.unwrap();
    seen.write(&keys(10..20), NOW).await.unwrap();
    seen.hand_over(key(20), NOW);
    assert!(!seen.is_new(&key(20)));
    let (again, found) = Seen::open(Some(&path), NOW).unwrap();
    assert_eq!((found, known(&again, 0..20), known(&again, 20..21)), (Found::Memory, 20, 0));
    seen.take_back(&key(20));
    seen.take_back(&key(1));
    assert!(seen.is_new(&key(20)) && !seen.is_new(&key(1)));
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_write_loses_no_record_before_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.seen");
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    seen.write(&keys(0..5), NOW).await.unwrap();
    seen.write(&keys(5..10), NOW).await.unwrap();
    let whole = fs::read(&path).unwrap();
    for length in HEAD.len()..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let records = (length - HEAD.len()) / RECORD_BYTES;
        let (mut torn, found) = Seen::open(Some(&path), NOW).unwrap();
        assert_eq!((found, known(&torn, 0..10)), (Found::Memory, records), "{length}");
        // What is written behind a torn record is in step again.
        torn.write(&keys(50..52), NOW).await.unwrap();
        let (after, _) = Seen::open(Some(&path), NOW).unwrap();
        assert_eq!((known(&after, 0..10), known(&after, 50..52)), (records, 2), "{length}");
    }
    // A kill before the new file has taken the old one's place leaves a stray that nobody reads.
    fs::write(&path, &whole).unwrap();
    fs::write(path.with_extension("new"), b"PRBSE").unwrap();
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    assert_eq!(known(&seen, 0..10), 10);
    seen.write(&keys(10..11), NOW).await.unwrap();
}

#[tokio::test]
async fn a_record_that_rots_is_forgotten_alone_and_a_foreign_file_is_put_aside() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.seen");
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    seen.write(&keys(0..10), NOW).await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEAD.len() + 3 * RECORD_BYTES + 2] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (seen, _) = Seen::open(Some(&path), NOW).unwrap();
    assert_eq!(known(&seen, 0..10), 9);

    fs::write(&path, b"something else").unwrap();
    let (mut seen, found) = Seen::open(Some(&path), NOW).unwrap();
    assert_eq!((found, known(&seen, 0..10)), (Found::Damaged, 0));
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), b"something else");
    seen.write(&keys(0..1), NOW).await.unwrap();
    assert_eq!(Seen::open(Some(&path), NOW).unwrap().1, Found::Memory);
}

#[tokio::test]
async fn an_item_is_remembered_for_as_long_as_it_is_listed_and_90_days() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.seen");
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    seen.write(&keys(0..2), NOW).await.unwrap();
    let mut now = NOW;
    for _ in 0..100 {
        now += STALE;
        let stale = seen.listed(&keys(0..1), now);
        assert_eq!(stale, keys(0..1), "a record a day");
        seen.write(&stale, now).await.unwrap();
    }
    assert_eq!((known(&seen, 0..1), known(&seen, 1..2)), (1, 0));
    let (again, _) = Seen::open(Some(&path), now).unwrap();
    assert_eq!((known(&again, 0..1), known(&again, 1..2)), (1, 0));
}

#[tokio::test]
async fn the_oldest_make_room_and_the_file_stays_in_proportion() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.seen");
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    seen.write(&keys(0..1_000), NOW).await.unwrap();
    let most = MOST as u32;
    seen.write(&keys(1_000..most + 1_000), NOW + 1).await.unwrap();
    seen.listed(&keys(1_000..1_500), NOW + 2);
    assert_eq!(seen.entries.len(), MOST + 500);
    assert_eq!(known(&seen, 0..1_000), 500);
    assert_eq!(known(&seen, 1_000..1_500), 500);

    let path = folder.path().join("y.seen");
    let (mut seen, _) = Seen::open(Some(&path), NOW).unwrap();
    for _ in 0..100 {
        seen.write(&keys(0..100), NOW).await.unwrap();
    }
    let records = (fs::metadata(&path).unwrap().len() as usize - HEAD.len()) / RECORD_BYTES;
    assert!(records <= FEW + 400, "{records}");
    assert_eq!(known(&Seen::open(Some(&path), NOW).unwrap().0, 0..100), 100);
}

#[tokio::test]
async fn without_a_place_on_disk_memory_has_it() {
    let mut seen = Seen::in_memory();
    seen.write(&keys(0..2), NOW).await.unwrap();
    assert_eq!(known(&seen, 0..3), 2);
}
