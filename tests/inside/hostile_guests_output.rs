//! Whatever a guest tells becomes a valid row of bounded size: arbitrary bytes as message, metrics,
//! annotations, log lines and state, through a guest that says what the body says. And the same input
//! gives the same bytes, also where floats are no numbers (W14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use probity::check::{CheckSet, CheckSpec, ConfiguredCheck, Isolation, Limits, Observed};
use probity::clock::UnixNanos;
use probity::model::{CheckStatus, Exchange, ProbeResult, Verdict, judge};
use probity::sink::BatchBuilder;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::hostile_guests_bench::{Bench, observed, spec};
use crate::wat_guest::Guest;

/// Bytes of a message, an annotation or a log line; of a name; and how many there may be.
const TEXT_BYTES: usize = 1_024;
const NAME_BYTES: usize = 64;
const MANY: usize = 32;

/// Does what the body says: eight bytes of count, then as many orders of 32 bytes, then the answer:
/// kind, place, length, place, length, level or status, value. Places are counted from the body's begin.
const PARROT: Guest<'static> = Guest {
    run: "
        (call $body (local.get $seen) (i32.const 2064))
        (global.set $base (i32.load (i32.const 2064)))
        (local.set $count (i32.load (global.get $base)))
        (local.set $at (i32.add (global.get $base) (i32.const 8)))
        (block $done
          (loop $next
            (br_if $done (i32.eqz (local.get $count)))
            (call $order (local.get $at))
            (local.set $at (i32.add (local.get $at) (i32.const 32)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next)))
        (call $drop (local.get $seen))
        (if (i32.load (local.get $at))
          (then
            (i32.store (i32.const 1232) (i32.const 1))
            (i32.store (i32.const 1236) (call $place (local.get $at)))
            (i32.store (i32.const 1240) (i32.load offset=8 (local.get $at)))
            (return (i32.const 1232))))
        (call $judge (i32.load offset=20 (local.get $at)) (call $place (local.get $at)) (i32.load offset=8 (local.get $at)))",
    more: "
        (global $base (mut i32) (i32.const 0))
        (func $place (param i32) (result i32) (i32.add (global.get $base) (i32.load offset=4 (local.get 0))))
        (func $other (param i32) (result i32) (i32.add (global.get $base) (i32.load offset=12 (local.get 0))))
        (func $order (param $at i32)
          (local $kind i32) (local $a i32) (local $b i32)
          (local.set $kind (i32.load (local.get $at)))
          (local.set $a (call $place (local.get $at)))
          (local.set $b (call $other (local.get $at)))
          (if (i32.eq (local.get $kind) (i32.const 0)) (then
            (call $metric (local.get $a) (i32.load offset=8 (local.get $at)) (f64.load offset=24 (local.get $at)))))
          (if (i32.eq (local.get $kind) (i32.const 1)) (then
            (call $annotate (local.get $a) (i32.load offset=8 (local.get $at)) (local.get $b) (i32.load offset=16 (local.get $at)))))
          (if (i32.eq (local.get $kind) (i32.const 2)) (then
            (call $log (i32.load offset=20 (local.get $at)) (local.get $a) (i32.load offset=8 (local.get $at)))))
          (if (i32.eq (local.get $kind) (i32.const 3)) (then
            (call $set (local.get $a) (i32.load offset=8 (local.get $at)) (local.get $b) (i32.load offset=16 (local.get $at)) (i32.const 2096)))))",
    ..Guest::PLAIN
};

/// Something that a guest tells: its kind as the parrot knows it, two texts, a level, a number.
#[derive(Debug, Clone)]
struct Order {
    kind: u32,
    texts: [Vec<u8>; 2],
    level: u32,
    value: f64,
}

impl Order {
    /// The level of an answer is its status, of which the contract has one byte in memory.
    fn status(&self) -> u8 {
        self.level as u8
    }
}

/// Everything that a guest tells, and its answer: kind 0 is a verdict whose level is the status, kind 1
/// an error.
#[derive(Debug, Clone)]
struct Speech {
    orders: Vec<Order>,
    answer: Order,
}

impl Speech {
    /// The body that makes the parrot say it.
    fn body(&self) -> Vec<u8> {
        let all: Vec<_> = self.orders.iter().chain([&self.answer]).collect();
        let mut head = (self.orders.len() as u64).to_le_bytes().to_vec();
        let mut texts = Vec::new();
        let begin = 8 + 32 * all.len();
        for order in all {
            head.extend(order.kind.to_le_bytes());
            for text in &order.texts {
                head.extend(((begin + texts.len()) as u32).to_le_bytes());
                head.extend((text.len() as u32).to_le_bytes());
                texts.extend_from_slice(text);
            }
            head.extend(order.level.to_le_bytes());
            head.extend(order.value.to_le_bytes());
        }
        head.extend(texts);
        head
    }

    /// Whether the contract allows all of it.
    fn is_in_order(&self) -> bool {
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        let is_told = |order: &Order| {
            let second = order.kind != 1 || is_text(&order.texts[1]);
            is_text(&order.texts[0]) && second && (order.kind != 2 || order.level < 4)
        };
        let answer = &self.answer;
        self.orders.iter().all(is_told)
            && is_text(&answer.texts[0])
            && (answer.kind == 1 || answer.status() < 3)
    }
}

/// Texts as guests may send them: ordinary, full of what terminals obey, long, not UTF-8.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let characters = |range| proptest::collection::vec(any::<char>(), range);
    let harmful = prop::sample::select(vec![
        "\0", "\x1b[31m", "\r\n", "\u{202e}", "<script>", "\u{9b}", "\"", "'", "\\", "\u{2028}", " ", "é",
        "🐟", "a",
    ]);
    prop_oneof![
        4 => characters(0..40).prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
        4 => proptest::collection::vec(harmful, 0..30).prop_map(|parts| parts.concat().into_bytes()),
        2 => "[a-z_]{1,12}".prop_map(String::into_bytes),
        1 => characters(900..1_200).prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
        1 => (any::<char>(), 0..60_000_usize).prop_map(|(one, times)| one.to_string().repeat(times).into_bytes()),
    ]
}

/// Any bytes, now and then.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![40 => text(), 1 => proptest::collection::vec(any::<u8>(), 0..20)]
}

fn order() -> impl Strategy<Value = Order> {
    let level = prop_oneof![60 => 0..4_u32, 1 => any::<u32>()];
    (0..4_u32, bytes(), bytes(), level, any::<f64>()).prop_map(|(kind, a, b, level, value)| Order {
        kind,
        texts: [a, b],
        level,
        value,
    })
}

fn speech() -> impl Strategy<Value = Speech> {
    let status = prop_oneof![20 => 0..3_u32, 1 => any::<u32>()];
    let answer = (0..2_u32, bytes(), status);
    (proptest::collection::vec(order(), 0..50), answer).prop_map(|(orders, (kind, text, level))| Speech {
        orders,
        answer: Order { kind, texts: [text, Vec::new()], level, value: 0.0 },
    })
}

/// One line that does no harm, within its bound.
fn is_harmless(text: &str, bytes: usize) -> bool {
    let is_harmful = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.len() <= bytes && !text.chars().any(is_harmful)
}

fn assert_bounded(verdict: &Verdict) -> Result<(), TestCaseError> {
    prop_assert!(is_harmless(&verdict.message, TEXT_BYTES), "{:?}", verdict.message);
    prop_assert!(verdict.metrics.len() <= MANY && verdict.annotations.len() <= MANY);
    let names = verdict.metrics.iter().map(|(name, _)| name);
    for name in names.chain(verdict.annotations.iter().map(|(name, _)| name)) {
        prop_assert!(!name.is_empty() && is_harmless(name, NAME_BYTES), "{name:?}");
    }
    let unique: HashSet<_> = verdict.metrics.iter().map(|(name, _)| name).collect();
    prop_assert_eq!(unique.len(), verdict.metrics.len());
    let unique: HashSet<_> = verdict.annotations.iter().map(|(name, _)| name).collect();
    prop_assert_eq!(unique.len(), verdict.annotations.len());
    prop_assert!(verdict.metrics.iter().all(|(_, value)| value.is_finite()));
    prop_assert!(verdict.annotations.iter().all(|(_, value)| is_harmless(value, TEXT_BYTES)));
    Ok(())
}

/// The verdict is what was said, where that was allowed; else an error.
fn assert_said(speech: &Speech, verdict: &Verdict) -> Result<(), TestCaseError> {
    if !speech.is_in_order() {
        prop_assert_eq!(verdict.status, CheckStatus::Error, "{:?}", verdict);
        prop_assert!(verdict.message.starts_with("bad output: "), "{:?}", verdict.message);
        return Ok(());
    }
    let statuses = [CheckStatus::Pass, CheckStatus::Warn, CheckStatus::Fail];
    let expected = if speech.answer.kind == 1 {
        CheckStatus::Error
    } else {
        statuses[usize::from(speech.answer.status())]
    };
    prop_assert_eq!(verdict.status, expected, "{}", verdict.message);
    let said = std::str::from_utf8(&speech.answer.texts[0]).unwrap();
    if is_harmless(said, TEXT_BYTES) && said.trim() == said {
        prop_assert_eq!(&verdict.message, said);
    }
    Ok(())
}

/// The verdict as a row comes back from Parquet as it was.
fn assert_stored(verdict: Verdict) -> Result<(), TestCaseError> {
    let seen = observed(b"");
    let verdicts = vec![verdict];
    let result = ProbeResult {
        seq: 1,
        probe_seq: 1,
        pipeline: "p".into(),
        generation: "0123456789abcdef".into(),
        target: Arc::clone(&seen.target),
        scheduled_at: UnixNanos(0),
        started_at: UnixNanos(0),
        lateness: Duration::ZERO,
        missed: 0,
        attempt: 1,
        is_final: true,
        in_maintenance: false,
        runner_overloaded: false,
        method: http::Method::GET,
        outcome: judge(&seen.exchange, &verdicts),
        exchange: Arc::clone(&seen.exchange),
        verdicts,
    };
    let mut builder = BatchBuilder::new("main".into(), "run".into(), 1);
    builder.push(&result).unwrap();
    let batch = builder.finish().unwrap().checks;
    prop_assert_eq!(batch.num_rows(), 1);
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    prop_assert_eq!(read.len(), 1);
    prop_assert_eq!(read[0].columns(), batch.columns());
    Ok(())
}

fn seeing(body: Vec<u8>) -> Arc<Observed> {
    let plain = observed(b"");
    let exchange = Exchange { body: Bytes::from(body), ..(*plain.exchange).clone() };
    Arc::new(Observed::new(Arc::clone(&plain.target), exchange.into(), plain.started_at))
}

#[test]
fn whatever_a_guest_tells_becomes_a_valid_row_of_bounded_size() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = Bench::new();
    let limits = Limits { time: Duration::from_secs(2), ..Limits::default() };
    let set = bench.set(&[(PARROT, limits)]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&speech(), |speech| {
        let asked = bench.pool.judge(&set, seeing(speech.body()), bench.in_time());
        let verdict = runtime.block_on(asked).commit_state().remove(0);
        assert_bounded(&verdict)?;
        assert_said(&speech, &verdict)?;
        assert_stored(verdict)
    });
    outcome.unwrap();
    assert_eq!(bench.pool.stats().calls, 200);
}

/// Floats that are no numbers, made in every way, as 16 hexadecimal digits each.
const NAN: &str = "
    (call $drop (local.get $seen))
    (call $tell (i64.reinterpret_f64 (f64.div (f64.const 0) (global.get $zero))))
    (call $tell (i64.reinterpret_f64 (f64.div (f64.const -0) (global.get $zero))))
    (call $tell (i64.reinterpret_f64 (f64.sub (f64.const inf) (global.get $infinity))))
    (call $tell (i64.reinterpret_f64 (f64.mul (f64.const -inf) (global.get $zero))))
    (call $tell (i64.reinterpret_f64 (f64.sqrt (f64.sub (global.get $zero) (f64.const 1)))))
    (call $tell (i64.reinterpret_f64 (f64.add (global.get $odd) (f64.const 1))))
    (call $tell (i64.reinterpret_f64 (f64.min (f64.const 1) (global.get $odd))))
    (call $tell (i64.reinterpret_f64 (f64.max (global.get $odd) (global.get $infinity))))
    (call $tell (i64.reinterpret_f64 (f64.nearest (global.get $odd))))
    (call $tell (i64.reinterpret_f64 (f64.promote_f32 (f32.demote_f64 (global.get $odd)))))
    (call $tell (i64.reinterpret_f64 (f64.promote_f32 (f32.div (f32.demote_f64 (global.get $zero)) (f32.const 0)))))
    (call $tell (i64x2.extract_lane 1 (f64x2.div (f64x2.splat (global.get $zero)) (f64x2.splat (global.get $zero)))))
    (call $judge (i32.const 0) (i32.const 4096) (i32.sub (global.get $end) (i32.const 4096)))";
const NAN_MORE: &str = r#"
    (global $zero (mut f64) (f64.const 0)) (global $infinity (mut f64) (f64.const inf))
    (global $odd (mut f64) (f64.const -nan:0x8000000012345))
    (global $end (mut i32) (i32.const 4096))
    (data (i32.const 2048) "0123456789abcdef")
    (func $tell (param $bits i64)
      (local $shift i64)
      (local.set $shift (i64.const 64))
      (loop $digit
        (local.set $shift (i64.sub (local.get $shift) (i64.const 4)))
        (i32.store8 (global.get $end) (i32.load8_u offset=2048
          (i32.wrap_i64 (i64.and (i64.shr_u (local.get $bits) (local.get $shift)) (i64.const 15)))))
        (global.set $end (i32.add (global.get $end) (i32.const 1)))
        (br_if $digit (i64.ne (local.get $shift) (i64.const 0))))
      (i32.store8 (global.get $end) (i32.const 32))
      (global.set $end (i32.add (global.get $end) (i32.const 1))))"#;

#[tokio::test]
async fn w14_what_is_no_number_has_the_same_bits_every_time() {
    let bench = Bench::new();
    let plugin = bench.plugin(Guest { run: NAN, more: NAN_MORE, ..Guest::PLAIN });
    for isolation in [Isolation::Configure, Isolation::Snapshot, Isolation::Auto] {
        let check = ConfiguredCheck::new(&plugin, CheckSpec { isolation, ..spec() }).unwrap();
        let set = Arc::new(CheckSet::new("p".into(), vec![check], bench.state.clone()));
        for _ in 0..3 {
            let verdicts = bench.pool.judge(&set, observed(b""), bench.in_time()).await.verdicts;
            assert_eq!(verdicts[0].message, ["7ff8000000000000"; 12].join(" "), "{isolation:?}");
        }
    }
}
