//! A result as one line of JSON: the names of the Parquet contract, its verdicts as an array `checks`
//! inside.
//!
//! What is null in Parquet is left out here. Times are RFC 3339 in UTC with microseconds, maps are
//! objects, numbers that JSON does not have (a metric may be infinite) are null. Characters that could
//! steer a terminal are escaped, so that the lines can be shown as they are.

use std::io::{self, Write};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, MapArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::batch::ResultBatch;
use super::columns::verdicts;
use crate::model::steers_a_terminal;

/// Columns of `checks` that its probe's row has already.
const SHARED: [&str; 6] = ["started_at", "pipeline", "target", "runner", "run_id", "seq"];

/// Appends a line for each result of a batch.
pub(crate) fn write_lines(batch: &ResultBatch, out: &mut Vec<u8>) -> io::Result<()> {
    let probes = columns(&batch.probes, &[])?;
    let checks = columns(&batch.checks, &SHARED)?;
    for (row, verdicts) in verdicts(batch)?.into_iter().enumerate() {
        out.push(b'{');
        write_row(&probes, row, out)?;
        out.extend_from_slice(if out.ends_with(b"{") { b"\"checks\":[" } else { b",\"checks\":[" });
        for check in verdicts.clone() {
            out.extend_from_slice(if check == verdicts.start { b"{" } else { b",{" });
            write_row(&checks, check, out)?;
            out.push(b'}');
        }
        out.extend_from_slice(b"]}\n");
    }
    Ok(())
}

/// One column with its type known.
struct NamedColumn<'a> {
    /// The name in quotes, with the colon.
    key: String,
    array: &'a ArrayRef,
    values: Values<'a>,
}

enum Values<'a> {
    Text(&'a StringArray),
    Long(&'a Int64Array),
    Int(&'a Int32Array),
    Flag(&'a BooleanArray),
    Time(&'a TimestampMicrosecondArray),
    Map(&'a MapArray),
}

fn columns<'a>(batch: &'a RecordBatch, without: &[&str]) -> io::Result<Vec<NamedColumn<'a>>> {
    let schema = batch.schema_ref();
    let named = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| !without.contains(&field.name().as_str()));
    named
        .map(|(field, array)| {
            let values = values(array)
                .ok_or_else(|| io::Error::other(format!("no JSON form for {}", field.data_type())))?;
            Ok(NamedColumn { key: format!("\"{}\":", field.name()), array, values })
        })
        .collect()
}

fn values(array: &ArrayRef) -> Option<Values<'_>> {
    match array.data_type() {
        DataType::Utf8 => array.as_string_opt().map(Values::Text),
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(Values::Long),
        DataType::Int32 => array.as_primitive_opt::<Int32Type>().map(Values::Int),
        DataType::Boolean => array.as_boolean_opt().map(Values::Flag),
        DataType::Timestamp(..) => array.as_primitive_opt::<TimestampMicrosecondType>().map(Values::Time),
        DataType::Map(..) => array.as_map_opt().map(Values::Map),
        _ => None,
    }
}

/// The values of a row that are not null, separated by commas.
fn write_row(columns: &[NamedColumn<'_>], row: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut first = true;
    for column in columns.iter().filter(|column| column.array.is_valid(row)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(column.key.as_bytes());
        match column.values {
            Values::Text(values) => write_text(values.value(row), out)?,
            Values::Long(values) => write!(out, "{}", values.value(row))?,
            Values::Int(values) => write!(out, "{}", values.value(row))?,
            Values::Flag(values) => write!(out, "{}", values.value(row))?,
            Values::Time(values) => write_time(values.value(row), out)?,
            Values::Map(values) => write_map(values, row, out)?,
        }
    }
    Ok(())
}

fn write_map(map: &MapArray, row: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let keys = map.keys().as_string::<i32>();
    let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
    let numbers = map.values().as_primitive_opt::<Float64Type>();
    let texts = map.values().as_string_opt::<i32>();
    out.push(b'{');
    for entry in range.clone() {
        if entry > range.start {
            out.push(b',');
        }
        write_text(keys.value(entry), out)?;
        out.push(b':');
        match (numbers, texts) {
            (Some(numbers), _) if numbers.is_valid(entry) => {
                serde_json::to_writer(&mut *out, &numbers.value(entry))?;
            }
            (_, Some(texts)) if texts.is_valid(entry) => write_text(texts.value(entry), out)?,
            _ => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_time(micros: i64, out: &mut Vec<u8>) -> io::Result<()> {
    let moment = Timestamp::from_microsecond(micros).map_err(io::Error::other)?;
    let at = Offset::UTC.to_datetime(moment);
    let (year, month, day) = (at.year(), at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let fraction = at.subsec_nanosecond() / 1_000;
    write!(out, "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z\"")
}

fn write_text(text: &str, out: &mut Vec<u8>) -> io::Result<()> {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || steers_a_terminal(c)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = from.chars();
        match chars.next() {
            Some(c @ ('"' | '\\')) => out.extend_from_slice(&[b'\\', c as u8]),
            Some('\n') => out.extend_from_slice(b"\\n"),
            Some(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
    Ok(())
}
