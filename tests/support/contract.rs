//! The Parquet contract as its readers were promised it: every column in its order, with its type in
//! each reader's own words. A column may be added at the end; nothing else may change.

/// A type of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8 text.
    Text,
    /// 64-bit signed.
    Int64,
    /// 32-bit signed.
    Int32,
    /// True or false.
    Bool,
    /// Microseconds, UTC.
    Time,
    /// Text to text.
    TextMap,
    /// Text to 64-bit float.
    NumberMap,
}

use Kind::{Bool, Int32, Int64, NumberMap, Text, TextMap, Time};

impl Kind {
    /// The type as `DESCRIBE` of DuckDB says it.
    pub(crate) fn duckdb(self) -> &'static str {
        match self {
            Text => "VARCHAR",
            Int64 => "BIGINT",
            Int32 => "INTEGER",
            Bool => "BOOLEAN",
            Time => "TIMESTAMP WITH TIME ZONE",
            TextMap => "MAP(VARCHAR, VARCHAR)",
            NumberMap => "MAP(VARCHAR, DOUBLE)",
        }
    }

    /// The type as a Polars schema says it.
    pub(crate) fn polars(self) -> &'static str {
        match self {
            Text => "String",
            Int64 => "Int64",
            Int32 => "Int32",
            Bool => "Boolean",
            Time => "Datetime(time_unit='us', time_zone='UTC')",
            TextMap => "Map(String, String)",
            NumberMap => "Map(String, Float64)",
        }
    }

    /// The type as pandas says it where Arrow's types are kept; a map goes on with its types.
    pub(crate) fn pandas(self) -> &'static str {
        match self {
            Text => "string[pyarrow]",
            Int64 => "int64[pyarrow]",
            Int32 => "int32[pyarrow]",
            Bool => "bool[pyarrow]",
            Time => "timestamp[us, tz=UTC][pyarrow]",
            TextMap => "map<string, string",
            NumberMap => "map<string, double",
        }
    }

    /// The type as Spark's `printSchema` says it.
    pub(crate) fn spark(self) -> &'static str {
        match self {
            Text => "string",
            Int64 => "long",
            Int32 => "integer",
            Bool => "boolean",
            Time => "timestamp",
            TextMap => "map<string,string>",
            NumberMap => "map<string,double>",
        }
    }

    /// The type as an Arrow schema says it in Python; a map goes on with the names of its fields.
    pub(crate) fn pyarrow(self) -> &'static str {
        match self {
            Text => "string",
            Int64 => "int64",
            Int32 => "int32",
            Bool => "bool",
            Time => "timestamp[us, tz=UTC]",
            TextMap => "map<string, string",
            NumberMap => "map<string, double",
        }
    }
}

/// `results/probes`: a row an attempt.
pub(crate) const PROBES: &[(&str, Kind)] = &[
    ("started_at", Time),
    ("scheduled_at", Time),
    ("lateness_us", Int64),
    ("pipeline", Text),
    ("target", Text),
    ("url", Text),
    ("method", Text),
    ("labels", TextMap),
    ("runner", Text),
    ("run_id", Text),
    ("generation", Text),
    ("seq", Int64),
    ("probe_seq", Int64),
    ("attempt", Int32),
    ("address_index", Int32),
    ("is_final", Bool),
    ("in_maintenance", Bool),
    ("missed", Int32),
    ("outcome", Text),
    ("error_kind", Text),
    ("error_message", Text),
    ("failed_check", Text),
    ("http_status", Int32),
    ("http_version", Text),
    ("remote_addr", Text),
    ("dns_answers", Int32),
    ("redirects", Int32),
    ("final_url", Text),
    ("hops", Text),
    ("connection_reused", Bool),
    ("dns_us", Int64),
    ("connect_us", Int64),
    ("tls_us", Int64),
    ("first_byte_us", Int64),
    ("transfer_us", Int64),
    ("total_us", Int64),
    ("header_bytes", Int64),
    ("body_bytes", Int64),
    ("decoded_bytes", Int64),
    ("body_truncated", Bool),
    ("content_type", Text),
    ("body_xxh3", Text),
    ("response_headers", TextMap),
    ("tls_version", Text),
    ("tls_cipher", Text),
    ("tls_alpn", Text),
    ("tls_verify_error", Text),
    ("tls_verified", Bool),
    ("tls_ocsp_stapled", Bool),
    ("cert_sha256", Text),
    ("cert_subject", Text),
    ("cert_issuer", Text),
    ("cert_names", Text),
    ("cert_not_before", Time),
    ("cert_not_after", Time),
    ("cert_chain_not_after", Time),
    ("checks_total", Int32),
    ("checks_failed", Int32),
    ("runner_overloaded", Bool),
];

/// `results/checks`: a row a verdict.
pub(crate) const CHECKS: &[(&str, Kind)] = &[
    ("started_at", Time),
    ("pipeline", Text),
    ("target", Text),
    ("runner", Text),
    ("run_id", Text),
    ("seq", Int64),
    ("check_name", Text),
    ("plugin", Text),
    ("status", Text),
    ("severity", Text),
    ("message", Text),
    ("duration_us", Int64),
    ("metrics", NumberMap),
    ("annotations", TextMap),
];
