//! Compresses the files of the page as well as possible, while it is built.
//!
//! A crate of its own, because brotli's code is generic: it is compiled in the crate that calls it. Here it is optimised, as it must be, without
//! optimising `page` in every build (`[profile.dev.package]` in the workspace's manifest).

use std::io::Write as _;

use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, write::GzEncoder};

/// For `Content-Encoding: br`.
///
/// # Panics
///
/// Never: memory can be written.
#[must_use]
pub fn brotli(content: &[u8]) -> Vec<u8> {
    let best = BrotliEncoderParams { quality: 11, size_hint: content.len(), ..BrotliEncoderParams::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut compressed, &best).expect("memory can be written");
    compressed
}

/// For `Content-Encoding: gzip`.
///
/// # Panics
///
/// Never: memory can be written.
#[must_use]
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
