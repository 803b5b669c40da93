//! Bodies that are small on the wire: honest ones, bombs, and broken ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};

/// What the honest ones say.
const TEXT: &[u8] = b"hello, gzip";
/// 64 MiB of zeros in brotli, by quality 11 and a window of 2^24.
const BROTLI_BOMB: &[u8] = &[
    0xcf, 0xff, 0xff, 0x7f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x9f, 0xff, 0xff, 0xff,
    0x04, 0xf0, 0x0c, 0x46, 0x10, 0x18, 0x0e, 0xef, 0xd3, 0xff, 0xff, 0xff, 0xfe, 0x19, 0xf0, 0x08, 0x8c,
    0x32, 0x20, 0x0d, 0xdf, 0xb7, 0xff, 0xef, 0xff, 0xff, 0xc3, 0x3f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba,
    0xf7, 0xff, 0x03,
];
/// A frame of zstd that asks for a window of 2 GiB (RFC 8878 section 3.1.1.1.2): 2^(10 + 21).
const ZSTD_WINDOW: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
/// What the bombs but brotli's become: zeros.
const ZEROS: usize = 8 << 20;

/// The body called `name`, made once.
pub(crate) fn payload(name: &str) -> Arc<[u8]> {
    static MADE: Mutex<Option<HashMap<String, Arc<[u8]>>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.get_or_insert_default();
    Arc::clone(made.entry(name.to_owned()).or_insert_with(|| make(name).into()))
}

fn make(name: &str) -> Vec<u8> {
    let halved = |whole: Vec<u8>| whole[..whole.len() / 2].to_vec();
    match name {
        "gzip" => encoded("gzip", TEXT),
        "zlib" => encoded("zlib", TEXT),
        "raw_deflate" => encoded("raw_deflate", TEXT),
        "brotli" => encoded("brotli", TEXT),
        "zstd" => encoded("zstd", TEXT),
        "half_a_gzip" => halved(encoded("gzip", TEXT)),
        "half_a_zstd" => halved(encoded("zstd", &[TEXT; 100].concat())),
        "gzip_of_another_sum" => {
            let mut bytes = encoded("gzip", TEXT);
            let at = bytes.len() - 8;
            bytes[at] ^= 0xff;
            bytes
        }
        "gzip_129" => encoded("gzip", &[b'x'; 129]),
        "gzip_bomb" => encoded("gzip", &vec![0; ZEROS]),
        "zlib_bomb" => encoded("zlib", &vec![0; ZEROS]),
        "zstd_bomb" => encoded("zstd", &vec![0; ZEROS]),
        "brotli_bomb" => BROTLI_BOMB.to_vec(),
        "gzip_bomb_in_gzip" => encoded("gzip", &encoded("gzip", &vec![0; ZEROS])),
        "zstd_window" => ZSTD_WINDOW.to_vec(),
        // A stored block has the ratio of 1, and is never the last one.
        "gzip_begin" => vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
        "stored_block" => {
            let mut block = vec![0, 0xff, 0xff, 0, 0];
            block.resize(5 + 0xffff, b'x');
            block
        }
        other => panic!("there is no body called \"{other}\""),
    }
}

fn encoded(name: &str, text: &[u8]) -> Vec<u8> {
    let level = || Level::Default.into();
    let mut encoder: Box<dyn EncodeV2> = match name {
        "gzip" => Box::new(GzipEncoder::new(level())),
        "zlib" => Box::new(ZlibEncoder::new(level())),
        "raw_deflate" => Box::new(DeflateEncoder::new(level())),
        "brotli" => Box::new(BrotliEncoder::new(EncoderParams::default())),
        _ => Box::new(ZstdEncoder::new(3)),
    };
    let mut out = vec![0; 4_096 + text.len() * 2];
    let mut output = WriteBuffer::new_initialized(&mut out);
    let mut input = PartialBuffer::new(text);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut output).unwrap();
    }
    while !encoder.finish(&mut output).unwrap() {}
    let length = output.written_len();
    out.truncate(length);
    out
}
