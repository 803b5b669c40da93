//! The files' rows, encodings and schema.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use hyper::body::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::printer::print_schema;

use super::*;
use crate::sink::parquet::folders::Folders;
use crate::sink::parquet::sort::Sorter;
use crate::sink::samples;

fn segment() -> SegmentName {
    SegmentName::new(samples::MORNING, "main", samples::RUN, 42)
}

fn encoded(table: Table, batches: &[RecordBatch]) -> Bytes {
    let mut file = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders::new(&folder.path().join("results"), "main").unwrap();
    let mut sorter = Sorter::new(table, &folders, "file", 0);
    for batch in batches {
        sorter.push(batch.clone(), 1).unwrap();
    }
    let rows = encode(table, &segment(), &mut sorter.finish().unwrap().unwrap(), &mut file).unwrap();
    assert_eq!(rows as usize, batches.iter().map(RecordBatch::num_rows).sum::<usize>());
    Bytes::from(file)
}

fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
    Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().metadata())
}

fn rows(file: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone())
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn rows_come_back_sorted_by_target_and_time() {
    let first = samples::batch(&[samples::full(1), samples::refused(2), samples::full(3)]);
    let second = samples::batch(&[samples::empty(4), samples::empty(6), samples::full(5)]);
    // Targets by number modulo 3: c, a, b.
    let expected = samples::batch(&[
        samples::full(1),
        samples::empty(4),
        samples::refused(2),
        samples::full(5),
        samples::full(3),
        samples::empty(6),
    ]);
    let file = encoded(Table::Probes, &[first.probes, second.probes]);
    assert_eq!(rows(&file), expected.probes);
    let file = encoded(Table::Checks, &[first.checks, second.checks]);
    assert_eq!(rows(&file), expected.checks);
}

#[test]
fn the_file_is_as_the_contract_says() {
    let batch = samples::batch(&[samples::full(1), samples::full(2), samples::refused(3)]);
    for (table, rows) in [(Table::Probes, batch.probes), (Table::Checks, batch.checks)] {
        let metadata = metadata(&encoded(table, &[rows]));
        let file = metadata.file_metadata();
        assert_eq!(file.version(), 1);
        let footer = file.key_value_metadata().unwrap();
        let value =
            |key: &str| footer.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        assert_eq!(value("probity.segment"), Some(segment().to_string()));
        assert_eq!(value("probity.run_id").as_deref(), Some(samples::RUN));
        assert_eq!(value("probity.schema_version").as_deref(), Some("1"));
        let group = metadata.row_group(0);
        assert_eq!(group.sorting_columns().unwrap().len(), 2);
        for (number, key) in [(0, "target"), (1, "started_at")] {
            let leaf = group.sorting_columns().unwrap()[number].column_idx as usize;
            assert_eq!(group.column(leaf).column_path().string(), key);
        }
        for column in group.columns() {
            let name = column.column_path().parts()[0].as_str();
            let delta = table.columns().iter().find(|declared| declared.name == name).unwrap().delta;
            let encodings: Vec<_> = column.encodings().collect();
            assert_eq!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), delta, "{name}");
            assert_eq!(
                column.dictionary_page_offset().is_some(),
                !delta && name != "is_final" && !is_flag(table, name),
                "{name}"
            );
            assert_eq!(column.compression(), Compression::ZSTD(ZstdLevel::default()), "{name}");
            assert!(
                column.column_index_offset().is_some() && column.offset_index_offset().is_some(),
                "{name}"
            );
            assert!(column.bloom_filter_offset().is_none(), "{name}");
        }
    }
}

fn is_flag(table: Table, name: &str) -> bool {
    let flag = arrow::datatypes::DataType::Boolean;
    table.columns().iter().any(|column| column.name == name && (column.data_type)() == flag)
}

#[test]
fn row_groups_have_131072_rows() {
    let results: Vec<_> = (1..=1_025).map(samples::refused).collect();
    let batch = samples::batch(&results).probes;
    let (at, _) = batch.schema().column_with_name("seq").unwrap();
    let batches: Vec<_> = (0..128)
        .map(|number| {
            let mut columns = batch.columns().to_vec();
            columns[at] = Arc::new(Int64Array::from_iter_values((0..1_025).map(|row| number * 1_025 + row)));
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        })
        .collect();
    let metadata = metadata(&encoded(Table::Probes, &batches));
    let groups: Vec<_> =
        metadata.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows).collect();
    assert_eq!(groups, [131_072, 128]);
}

/// The contract: names, types, units, meanings, order; as Arrow and as Parquet say it. A change of the
/// golden file needs a line in CHANGELOG.md for those who read Parquet.
#[test]
fn the_schema_is_the_golden_one() {
    let mut text = Vec::new();
    let batch = samples::batch(&[samples::full(1)]);
    for (table, rows) in [(Table::Probes, batch.probes), (Table::Checks, batch.checks)] {
        writeln!(text, "{}", table.name()).unwrap();
        for column in table.columns() {
            let encoding = if column.delta { "delta" } else { "dictionary" };
            writeln!(
                text,
                "  {} | {} | {} | {encoding} | {}",
                column.name,
                (column.data_type)(),
                column.unit,
                column.doc
            )
            .unwrap();
        }
        let metadata = metadata(&encoded(table, &[rows]));
        print_schema(&mut text, metadata.file_metadata().schema_descr().root_schema());
        writeln!(text).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet-schema.txt");
    let golden = fs::read_to_string(&path).unwrap_or_default();
    if golden != text {
        let fresh = std::env::temp_dir().join("parquet-schema.txt");
        fs::write(&fresh, &text).unwrap();
        panic!(
            "the schema differs from {}; if that is meant, copy {} there",
            path.display(),
            fresh.display()
        );
    }
}
