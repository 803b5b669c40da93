//! A toolkit for reading TOML files with positions: it knows no stage.
