//! Why a check gave no judgement: a closed list of kinds, and the one place that reads a trap.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::limits::{HOST_CALLS, HOST_COPY_BYTES, Meter, STACK_BYTES, Stop};
use super::report::{Report, TEXT_BYTES, one_line};

/// Declares the kinds once: variant, stable name.
macro_rules! fault_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// Why a check gave no judgement. The names are stable: metrics use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($(#[doc = $doc])+ $variant,)+ }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

fault_kinds! {
    /// It used up its time.
    Time = "time";
    /// It wanted more memory than it may have, and did not cope.
    Memory = "memory";
    /// It used up its stack.
    Stack = "stack";
    /// It made too many host calls, or passed too much in one.
    HostCalls = "host_calls";
    /// It trapped in some other way.
    Trap = "trap";
    /// What it returned breaks the contract.
    Output = "output";
    /// It said that it could not judge.
    Refused = "refused";
    /// The attempt's deadline passed before it ended, or before it began.
    NoTimeLeft = "no_time_left";
    /// The runner was stopped before it began.
    Stopping = "stopping";
    /// It was not called, since it failed many times in a row.
    Suspended = "suspended";
    /// A fault of the runner itself.
    Internal = "internal";
}

impl FaultKind {
    /// Whether the plugin itself is to blame: it misbehaved in a call.
    pub fn is_of_plugin(self) -> bool {
        match self {
            Self::Time | Self::Memory | Self::Stack | Self::HostCalls | Self::Trap | Self::Output => true,
            Self::Refused | Self::NoTimeLeft | Self::Stopping | Self::Suspended | Self::Internal => false,
        }
    }
}

/// Why a check gave no judgement, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) message: String,
}

impl Fault {
    /// A fault; the message becomes one harmless line.
    pub(super) fn new(kind: FaultKind, message: &str) -> Self {
        Self { kind, message: one_line(message, TEXT_BYTES) }
    }

    /// The attempt's deadline passed before the check was called.
    pub(super) fn no_time_left() -> Self {
        Self::new(
            FaultKind::NoTimeLeft,
            "no time left: the deadline of the attempt passed before the check began",
        )
    }

    /// The runner stops.
    pub(super) fn stopping() -> Self {
        Self::new(FaultKind::Stopping, "the runner was stopped before the check began")
    }

    /// A fault of ours.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(FaultKind::Internal, &format!("a fault of the runner: {message}"))
    }

    /// Reads an error of a call. What the meter remembers comes first, since the trap alone may
    /// tell something else.
    pub(super) fn of_call(error: &wasmtime::Error, meter: &Meter, report: &Report) -> Self {
        if let Some(stop) = meter.stopped {
            let (kind, message) = of_stop(stop);
            return Self::new(kind, &message);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Self::internal("too many instances of plugins at one time");
        }
        let trap = error.downcast_ref::<Trap>().copied();
        if meter.memory_refused {
            let limit = mebibytes(meter.limits().memory_bytes);
            return Self::new(FaultKind::Memory, &format!("memory limit: wanted more than {limit}"));
        }
        let (kind, message) = match trap {
            Some(trap) => of_trap(trap),
            None => of_other(error),
        };
        match &report.last_error {
            Some(said) if kind == FaultKind::Trap => Self::new(kind, &format!("{message}; it said: {said}")),
            _ => Self::new(kind, &message),
        }
    }
}

fn of_stop(stop: Stop) -> (FaultKind, String) {
    match stop {
        Stop::CpuTime(used) => (FaultKind::Time, format!("time limit: used {} ms of CPU", millis(used))),
        Stop::WallTime(passed, used) => {
            let (passed, used) = (millis(passed), millis(used));
            (FaultKind::Time, format!("time limit: {passed} ms passed, of which it had {used} ms of CPU"))
        }
        Stop::Deadline => (
            FaultKind::NoTimeLeft,
            "no time left: the deadline of the attempt passed while the check ran".into(),
        ),
        Stop::HostCalls => (FaultKind::HostCalls, format!("host call limit: more than {HOST_CALLS} calls")),
    }
}

fn of_trap(trap: Trap) -> (FaultKind, String) {
    match trap {
        Trap::StackOverflow => {
            (FaultKind::Stack, format!("stack overflow: wanted more than {} KiB", STACK_BYTES >> 10))
        }
        Trap::UnreachableCodeReached => (FaultKind::Trap, "trapped: unreachable".into()),
        Trap::MemoryOutOfBounds => {
            // A Rust guest has a stack of its own in its memory and runs over that one first.
            (FaultKind::Trap, "trapped: out of bounds memory access, or its own stack overflowed".into())
        }
        Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::InvalidChar
        | Trap::UnalignedPointer => (FaultKind::Output, format!("bad output: {}", bare(&trap.to_string()))),
        other => (FaultKind::Trap, format!("trapped: {}", bare(&other.to_string()))),
    }
}

fn of_other(error: &wasmtime::Error) -> (FaultKind, String) {
    let cause = error.root_cause().to_string();
    // The engine has no type for this one, so its name for the limit is all there is to go by.
    if cause.contains("fuel") {
        let limit = mebibytes(HOST_COPY_BYTES);
        return (FaultKind::HostCalls, format!("host call limit: passed more than {limit} at once"));
    }
    (FaultKind::Output, format!("bad output: {}", bare(&cause)))
}

/// The engine's words without its prefix.
fn bare(words: &str) -> &str {
    words.strip_prefix("wasm trap: ").unwrap_or(words)
}

fn millis(duration: Duration) -> u128 {
    duration.as_millis()
}

fn mebibytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
