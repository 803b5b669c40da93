//! W23: hostile components by seed, through the real host. `cargo bench --bench components` goes on where
//! this ends. Each seed that ever found a fault has a test of its own here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use crate::hostile_components::{Trial, component};

/// Seeds in a run of the tests.
const SEEDS: u64 = 500;

#[tokio::test]
async fn w23_no_component_harms_the_host() {
    let trial = Trial::new();
    let mut ended: BTreeMap<String, u32> = BTreeMap::new();
    // A process that dies tells nothing: the file has the seed that it died of.
    let marker = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-seed");
    for seed in 0..SEEDS {
        std::fs::write(&marker, seed.to_string()).unwrap();
        let tried = trial.try_one(seed).await.unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        *ended.entry(tried.how).or_default() += 1;
    }
    trial.is_sound().await.unwrap();
    std::fs::remove_file(&marker).unwrap();
    let judged: u32 = ended.iter().filter(|(how, _)| how.starts_with("judged")).map(|(_, count)| count).sum();
    // Else they are too wild to get anywhere.
    assert!(u64::from(judged) > SEEDS / 2, "{ended:#?}");
    assert!(ended.len() > 8, "{ended:#?}");
}

#[test]
fn a_seed_gives_the_same_component_every_time() {
    for seed in [0, 1, 77] {
        assert_eq!(component(seed), component(seed));
    }
    assert_ne!(component(0), component(1));
}
