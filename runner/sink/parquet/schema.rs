//! The columns of the two tables, once: name, type, unit, meaning. This is the Parquet contract.
//!
//! The same list makes the Arrow schema, the builders of `batch.rs` and the encodings of `encode.rs`.
//! Constraints, each measured to break or to differ in some reader: no unsigned, no Int16, no Duration,
//! no Dictionary, no Binary, no nested struct. Every column is nullable: null means "did not happen",
//! never 0. Evolution: add columns at the end and raise [`SCHEMA_VERSION`], nothing else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::array::builder::{
    ArrayBuilder, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// Raised whenever columns are added.
pub const SCHEMA_VERSION: u16 = 1;

/// The two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// A row an attempt.
    Probes,
    /// A row a verdict.
    Checks,
}

impl Table {
    /// In the order of publishing: verdicts first, so that a probe that is seen has its verdicts.
    pub const ALL: [Self; 2] = [Self::Checks, Self::Probes];

    /// The folder and the first part of file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Checks => "checks",
        }
    }

    /// The columns, in their order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Probes => PROBES,
            Self::Checks => CHECKS,
        }
    }

    /// The Arrow schema, with `unit` and `doc` in the metadata of each field.
    pub fn schema(self) -> SchemaRef {
        static PROBES_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(PROBES));
        static CHECKS_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(CHECKS));
        match self {
            Self::Probes => Arc::clone(&PROBES_SCHEMA),
            Self::Checks => Arc::clone(&CHECKS_SCHEMA),
        }
    }
}

/// One column of a table.
#[derive(Debug)]
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// The Arrow type.
    pub data_type: fn() -> DataType,
    /// The unit, or the form of a text; empty where there is none.
    pub unit: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether it is stored as `DELTA_BINARY_PACKED` without dictionary: times, durations, numbering.
    pub delta: bool,
}

/// The type of a column: its Arrow type and its builder.
pub(crate) trait ColumnKind {
    /// What collects values.
    type Builder: ArrayBuilder;
    /// Whether it is stored as `DELTA_BINARY_PACKED`.
    const DELTA: bool = false;
    /// The Arrow type.
    fn data_type() -> DataType;
    /// A builder with room for `rows`.
    fn builder(rows: usize) -> Self::Builder;
}

/// Declares a kind of column.
macro_rules! kind {
    ($name:ident, $builder:ty, delta: $delta:literal, $data_type:expr, $make:expr) => {
        pub(crate) struct $name;
        impl ColumnKind for $name {
            type Builder = $builder;
            const DELTA: bool = $delta;
            fn data_type() -> DataType {
                $data_type
            }
            fn builder(rows: usize) -> $builder {
                let make: fn(usize) -> $builder = $make;
                make(rows)
            }
        }
    };
}

kind!(Time, TimestampMicrosecondBuilder, delta: true, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    |rows| TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"));
kind!(Length, Int64Builder, delta: true, DataType::Int64, Int64Builder::with_capacity);
kind!(Number, Int64Builder, delta: true, DataType::Int64, Int64Builder::with_capacity);
kind!(Long, Int64Builder, delta: false, DataType::Int64, Int64Builder::with_capacity);
kind!(Int, Int32Builder, delta: false, DataType::Int32, Int32Builder::with_capacity);
kind!(Flag, BooleanBuilder, delta: false, DataType::Boolean, BooleanBuilder::with_capacity);
kind!(Text, StringBuilder, delta: false, DataType::Utf8, |rows| StringBuilder::with_capacity(rows, rows * 16));
kind!(Texts, MapBuilder<StringBuilder, StringBuilder>, delta: false, map_of(DataType::Utf8),
    |rows| MapBuilder::with_capacity(Some(entry_names()), StringBuilder::new(), StringBuilder::new(), rows));
kind!(Numbers, MapBuilder<StringBuilder, Float64Builder>, delta: false, map_of(DataType::Float64),
    |rows| MapBuilder::with_capacity(Some(entry_names()), StringBuilder::new(), Float64Builder::new(), rows));

fn entry_names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() }
}

fn map_of(value: DataType) -> DataType {
    let names = entry_names();
    let fields = Fields::from(vec![
        Field::new(names.key, DataType::Utf8, false),
        Field::new(names.value, value, true),
    ]);
    DataType::Map(Arc::new(Field::new(names.entry, DataType::Struct(fields), false)), false)
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|column| {
        let mut metadata = HashMap::from([("doc".to_owned(), column.doc.to_owned())]);
        if !column.unit.is_empty() {
            metadata.insert("unit".to_owned(), column.unit.to_owned());
        }
        Field::new(column.name, (column.data_type)(), true).with_metadata(metadata)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Declares a table: the list of its columns and the struct of their builders.
macro_rules! table {
    ($(#[doc = $meaning:literal])+ $list:ident, $builders:ident { $($name:ident: $kind:ident, $unit:literal, $doc:literal;)+ }) => {
        $(#[doc = $meaning])+
        const $list: &[Column] = &[$(Column {
            name: stringify!($name),
            data_type: <$kind as ColumnKind>::data_type,
            unit: $unit,
            doc: $doc,
            delta: <$kind as ColumnKind>::DELTA,
        },)+];

        $(#[doc = $meaning])+
        pub(crate) struct $builders {
            $(pub(crate) $name: <$kind as ColumnKind>::Builder,)+
        }

        impl $builders {
            /// Builders with room for `rows`.
            pub(crate) fn new(rows: usize) -> Self {
                Self { $($name: <$kind as ColumnKind>::builder(rows),)+ }
            }

            /// The columns in their order; the builders are empty afterwards.
            pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
                vec![$(ArrayBuilder::finish(&mut self.$name),)+]
            }
        }
    };
}

table! {
    /// A row an attempt.
    PROBES, ProbeColumns {
        started_at: Time, "us since the Unix epoch, UTC", "when the attempt began";
        scheduled_at: Time, "us since the Unix epoch, UTC", "when the probe was due";
        lateness_us: Length, "us", "from due to the begin of the first attempt, by the monotonic clock";
        pipeline: Text, "", "name of the pipeline";
        target: Text, "", "name of the target; its URL where it has no name";
        url: Text, "URL", "the target's URL, without user information";
        method: Text, "", "HTTP method of the first request";
        labels: Texts, "", "labels of the target";
        runner: Text, "", "name of the runner";
        run_id: Text, "UUIDv7", "one start of a runner; with seq the key of the row";
        generation: Text, "16 hex digits", "the version of the pipeline that made the row";
        seq: Number, "", "numbers the rows of a run, over all pipelines; with run_id the key of the row";
        probe_seq: Number, "", "numbers the probes of a run, over all pipelines";
        attempt: Int, "", "which attempt of the probe, from 1";
        address_index: Int, "", "which of the target's addresses was probed, from 0; null where any may answer";
        is_final: Flag, "", "whether this attempt decides the probe";
        in_maintenance: Flag, "", "whether the target was in a maintenance window";
        missed: Int, "ticks", "ticks of this target missed before this probe";
        outcome: Text, "up, degraded, unknown, down, skipped", "the sum of the attempt";
        error_kind: Text, "", "stable kind of the failure; null where there was a whole response";
        error_message: Text, "", "the failure, for people";
        failed_check: Text, "", "the first check that decided an outcome down or unknown";
        http_status: Int, "", "status code of the last response";
        http_version: Text, "1.0, 1.1, 2, 3", "protocol version of the last response";
        remote_addr: Text, "ip:port", "the address connected to last";
        dns_answers: Int, "", "addresses that the resolver gave for the last host";
        redirects: Int, "", "redirects followed";
        final_url: Text, "URL", "URL of the last request";
        hops: Text, "JSON", "every request of the attempt with its status and phases; null where there was one only";
        connection_reused: Flag, "", "whether the last request went over a connection that was open already";
        dns_us: Length, "us", "resolving names, summed over hops";
        connect_us: Length, "us", "making TCP connections, summed over hops";
        tls_us: Length, "us", "TLS handshakes, summed over hops";
        first_byte_us: Length, "us", "from sending a request to the head of its response, summed over hops";
        transfer_us: Length, "us", "from the head of a response to the end of its body, summed over hops";
        total_us: Length, "us", "the whole attempt on the wire";
        header_bytes: Long, "bytes", "head of the last response, on the wire";
        body_bytes: Long, "bytes", "body of the last response, before content decoding";
        decoded_bytes: Long, "bytes", "body of the last response, after content decoding";
        body_truncated: Flag, "", "whether the body went on beyond the body limit";
        content_type: Text, "", "content-type header of the last response";
        body_xxh3: Text, "16 hex digits", "XXH3-64 of the decoded bytes of the body that were kept";
        response_headers: Texts, "", "headers of the last response that the pipeline asks for";
        tls_version: Text, "1.2, 1.3", "TLS version of the last handshake";
        tls_cipher: Text, "", "IANA name of the cipher suite";
        tls_alpn: Text, "", "protocol agreed by ALPN";
        tls_verify_error: Text, "", "why the verification of the certificate failed";
        tls_verified: Flag, "", "whether the certificate was verified";
        tls_ocsp_stapled: Flag, "", "whether an OCSP response was stapled";
        cert_sha256: Text, "64 hex digits", "SHA-256 of the leaf certificate";
        cert_subject: Text, "", "subject of the leaf certificate";
        cert_issuer: Text, "", "issuer of the leaf certificate";
        cert_names: Text, "", "names the leaf certificate is for, at most 32, separated by commas";
        cert_not_before: Time, "us since the Unix epoch, UTC", "begin of the leaf certificate's validity";
        cert_not_after: Time, "us since the Unix epoch, UTC", "end of the leaf certificate's validity";
        cert_chain_not_after: Time, "us since the Unix epoch, UTC", "earliest end of validity in the chain presented";
        checks_total: Int, "", "verdicts of the attempt";
        checks_failed: Int, "", "verdicts with status fail";
        runner_overloaded: Flag, "", "whether the runner's own threads came to their turn 20 ms late or more meanwhile: its delays are in the phases";
    }
}

table! {
    /// A row a verdict.
    CHECKS, CheckColumns {
        started_at: Time, "us since the Unix epoch, UTC", "when the attempt began";
        pipeline: Text, "", "name of the pipeline";
        target: Text, "", "name of the target";
        runner: Text, "", "name of the runner";
        run_id: Text, "UUIDv7", "one start of a runner; with seq the key of the row in probes";
        seq: Number, "", "the row of the attempt in probes";
        check_name: Text, "", "name of the check in its pipeline";
        plugin: Text, "", "the plugin: a bundled one's name, or its path as the pipeline file has it";
        status: Text, "pass, warn, fail, error", "what the check said, whatever its severity";
        severity: Text, "fail, warn", "what a fail of this check does to the outcome";
        message: Text, "", "the check's reason, for people";
        duration_us: Length, "us", "how long the check took, its sandbox included";
        metrics: Numbers, "in the name", "numbers that the check told";
        annotations: Texts, "", "texts that the check told";
    }
}
